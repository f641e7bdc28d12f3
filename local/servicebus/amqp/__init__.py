"""AMQP 1.0 (ISO/IEC 19464): types, frames, performatives and message sections. Knows nothing of queues."""
