"""Azure Cosmos DB for NoSQL on one machine: the same REST protocol over SQLite, for the unmodified SDKs."""
