"""Azure Service Bus on one machine: an AMQP 1.0 broker over SQLite that the unmodified `azure-servicebus` SDK accepts."""
