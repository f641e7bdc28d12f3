"""AMQP 1.0 as far as an agent needs it: one connection with one receiver, and a sender while there is something to say.

The Azure SDK does the same and more; measured idle, its protocol engine wakes up five times a second (150 ms of CPU a
minute) and its import holds 13 MB, which is twice what the rest of the agent takes. Here nothing runs until the
socket has something to say. Protocol: OASIS AMQP 1.0 (http://docs.oasis-open.org/amqp/core/v1.0/os/); claims-based security and
the addresses: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide.
"""
