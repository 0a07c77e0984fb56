"""The carrier: takes calls, fetches answer documents, streams audio, answers the REST API."""
