"""Queue triggers and outputs: what the host needs of a broker, Azure Service Bus through its SDK, and the pump between."""
