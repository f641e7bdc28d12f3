"""Messages: sections to bytes and back (part 3 of the specification, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from agent.amqp.codec import AmqpError, Described, decode, encode

_ANNOTATIONS: Final = 0x72
_PROPERTIES: Final = 0x73
_APPLICATION: Final = 0x74
_DATA: Final = 0x75
_VALUE: Final = 0x77


@dataclass(slots=True)
class Message:
    """What an agent reads and writes of a message. `value` is for the conversation with `$cbs`."""

    body: bytes = b""
    id: Any = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: Any = None
    application: dict[str, Any] = field(default_factory=dict)
    annotations: dict[Any, Any] = field(default_factory=dict)
    value: Any = None

    def encode(self) -> bytes:
        """The sections that are set."""
        properties = [self.id, None, None, self.subject, self.reply_to, self.correlation_id]
        sections = [encode(Described(_PROPERTIES, properties))]
        if self.application:
            sections.append(encode(Described(_APPLICATION, self.application)))
        sections.append(
            encode(Described(_VALUE, self.value) if self.value is not None else Described(_DATA, self.body))
        )
        return b"".join(sections)


def decode_message(data: bytes) -> Message:
    """Read a message; sections that an agent has no use for are passed by.

    Raises:
        AmqpError: not a message.
    """
    view, at, message, body = memoryview(data), 0, Message(), []
    while at < len(view):
        section, at = decode(view, at)
        if not isinstance(section, Described):
            raise AmqpError("amqp:decode-error", "a section without a descriptor")
        if section.descriptor == _PROPERTIES and isinstance(section.value, list):
            fields = (section.value + [None] * 6)[:6]
            message.id, message.subject, message.reply_to, message.correlation_id = fields[0], *fields[3:6]
        elif section.descriptor == _APPLICATION and isinstance(section.value, dict):
            message.application = section.value
        elif section.descriptor == _ANNOTATIONS and isinstance(section.value, dict):
            message.annotations = section.value
        elif section.descriptor == _DATA and isinstance(section.value, bytes):
            body.append(section.value)
        elif section.descriptor == _VALUE:
            message.value = section.value
    message.body = b"".join(body)
    return message
