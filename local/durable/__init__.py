"""A durable task engine over SQLite which speaks the JSON protocol of the unmodified `azure-functions-durable` SDK."""
