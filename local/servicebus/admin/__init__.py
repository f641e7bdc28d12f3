"""The management API over HTTP: ATOM feeds of queue descriptions."""
