"""The JSON protocol between the Durable Functions extension and out-of-process SDKs (replay schema 3)."""
