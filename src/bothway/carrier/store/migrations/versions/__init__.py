"""The revisions. One that was released is not changed any more."""
