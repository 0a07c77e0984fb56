"""What a person looks at: timelines and pages."""
