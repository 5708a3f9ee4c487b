"""Packets as bytes and back, with no rule enforced on the way out: what is wrong is said as it is."""

import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT, AUTH = 12, 13, 14, 15
NAMES = (
    "type 0|CONNECT|CONNACK|PUBLISH|PUBACK|PUBREC|PUBREL|PUBCOMP"
    "|SUBSCRIBE|SUBACK|UNSUBSCRIBE|UNSUBACK|PINGREQ|PINGRESP|DISCONNECT|AUTH"
).split("|")

# What each property of 5.0 looks like.
BYTE, TWO, FOUR, VARIABLE, BINARY, TEXT, PAIR = range(7)
PROPERTIES = {
    0x01: BYTE, 0x02: FOUR, 0x03: TEXT, 0x08: TEXT, 0x09: BINARY, 0x0B: VARIABLE,
    0x11: FOUR, 0x12: TEXT, 0x13: TWO, 0x15: TEXT, 0x16: BINARY, 0x17: BYTE,
    0x18: FOUR, 0x19: BYTE, 0x1A: TEXT, 0x1C: TEXT, 0x1F: TEXT, 0x21: TWO,
    0x22: TWO, 0x23: TWO, 0x24: BYTE, 0x25: BYTE, 0x26: PAIR, 0x27: FOUR,
    0x28: BYTE, 0x29: BYTE, 0x2A: BYTE,
}  # fmt: skip


def variable(number):
    """A variable byte integer."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(text):
    """Text or bytes behind their length."""
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">H", len(data)) + data


def prop(id, value):
    """One property."""
    kind = PROPERTIES.get(id, BYTE)
    if kind == PAIR:
        body = field(value[0]) + field(value[1])
    elif kind in (BINARY, TEXT):
        body = field(value)
    elif kind == VARIABLE:
        body = variable(value)
    else:
        body = struct.pack({BYTE: ">B", TWO: ">H", FOUR: ">I"}[kind], value)
    return bytes([id]) + body


def props(version, *pairs):
    """A block of properties, where the version has them."""
    if version != 5:
        return b""
    body = b"".join(prop(*pair) for pair in pairs)
    return variable(len(body)) + body


def packet(first, *parts):
    """A whole packet behind its first byte."""
    body = b"".join(parts)
    return bytes([first]) + variable(len(body)) + body


def number(id):
    return struct.pack(">H", id)


def publish(version, topic, payload, qos=0, retain=0, dup=0, id=None, *pairs):
    head = 0x30 | dup << 3 | qos << 1 | retain
    return packet(head, field(topic), number(id) if qos else b"", props(version, *pairs), payload)


def ack(version, type, id, code=0):
    first = type << 4 | (2 if type == PUBREL else 0)
    return packet(first, number(id), bytes([code]) if version == 5 and code else b"")


class Malformed(Exception):
    """A broker said something that cannot be read."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Malformed("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self):
        return self.take(1)[0]

    def two(self):
        return struct.unpack(">H", self.take(2))[0]

    def field(self):
        return self.take(self.two())

    def text(self):
        return self.field().decode()

    def variable(self):
        value = 0
        for shift in (0, 7, 14, 21):
            low = self.byte()
            value |= (low & 0x7F) << shift
            if low < 0x80:
                return value
        raise Malformed("a long number")

    def rest(self):
        return self.take(len(self.data) - self.at)

    def left(self):
        return len(self.data) - self.at

    def props(self, version):
        """All properties in their order, as pairs."""
        if version != 5:
            return []
        block, found = Reader(self.take(self.variable())), []
        while block.left():
            id = block.variable()
            kind = PROPERTIES.get(id)
            if kind is None:
                raise Malformed(f"property {id}")
            value = {
                BYTE: block.byte, TWO: block.two, VARIABLE: block.variable, BINARY: block.field,
                TEXT: block.text, FOUR: lambda: struct.unpack(">I", block.take(4))[0],
                PAIR: lambda: (block.text(), block.text()),
            }[kind]()  # fmt: skip
            found.append((id, value))
        return found


def split(buffer):
    """The first whole packet of a buffer and what is behind it, or None."""
    length, shift = 0, 0
    for at in range(1, 5):
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << shift
        shift += 7
        if buffer[at] < 0x80:
            end = at + 1 + length
            return (buffer[0], buffer[at + 1 : end], buffer[end:]) if len(buffer) >= end else None
    raise Malformed("a length of five bytes")


def parse(version, first, body):
    """A packet of a broker, as a dictionary."""
    type, flags, reader = first >> 4, first & 15, Reader(body)
    said = {"type": NAMES[type]}
    if type != PUBLISH and flags != (2 if type == PUBREL else 0):
        raise Malformed(f"flags {flags} of {NAMES[type]}")
    if type == CONNACK:
        said["present"], said["code"] = reader.byte(), reader.byte()
        # Which form it has says its length: the level may have been an odd one.
        said["props"] = reader.props(5) if reader.left() else []
    elif type == PUBLISH:
        said["dup"], said["qos"], said["retain"] = flags >> 3, flags >> 1 & 3, flags & 1
        said["topic"] = reader.text()
        said["id"] = reader.two() if said["qos"] else None
        said["props"] = reader.props(version)
        said["payload"] = reader.rest()
    elif PUBACK <= type <= PUBCOMP:
        said["id"] = reader.two()
        said["code"] = reader.byte() if version == 5 and reader.left() else 0
        said["props"] = reader.props(version) if version == 5 and reader.left() else []
    elif type in (SUBACK, UNSUBACK):
        said["id"] = reader.two()
        said["props"] = reader.props(version)
        said["codes"] = list(reader.rest())
    elif type in (DISCONNECT, AUTH) and version == 5:
        said["code"] = reader.byte() if reader.left() else 0
        said["props"] = reader.props(version) if reader.left() else []
    elif type != PINGRESP:
        raise Malformed(f"a {NAMES[type]} of a server")
    if reader.left():
        raise Malformed(f"{reader.left()} bytes too many in {NAMES[type]}")
    return said
