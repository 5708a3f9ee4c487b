"""Packets that a broker must not take, may not take, or has to think about."""

import wire
from wire import field, number, packet, props
from talk import ODD_FILTERS, ODD_TOPICS


def packet_of(talk, slot):
    """A name for it, and its bytes."""
    version, one_of = slot.version, talk.one_of
    is_5 = version == 5
    none = props(version)
    hello = packet(0x10, field("MQTT"), bytes([version, 2]), number(60), none, field(slot.own_id))
    choices = {
        "filter": lambda: packet(0x82, number(9), none, field(talk.random.choice(ODD_FILTERS)), b"\1"),
        "filter beside a good one": lambda: packet(0x82, number(9), none, field("a"), b"\1", field(talk.random.choice(ODD_FILTERS)), b"\1"),
        "unsubscribe": lambda: packet(0xA2, number(9), none, field(talk.random.choice(ODD_FILTERS))),
        "topic": lambda: wire.publish(version, talk.random.choice(ODD_TOPICS), b"odd", one_of(0, 1, 1), one_of(0, 1), 0, 29),
        "no filters": lambda: packet(0x82, number(9), none),
        "no filters to unsubscribe": lambda: packet(0xA2, number(9), none),
        "options": lambda: packet(0x82, number(9), none, field("a"), bytes([talk.random.randrange(256)])),
        "shared options": lambda: packet(0x82, number(9), none, field("$share/g/s/a"), bytes([talk.random.randrange(256)])),
        "second CONNECT": lambda: hello,
        "flags": lambda: bytes([talk.random.choice([0x41, 0x50 | 2, 0x60, 0x63, 0x70 | 1, 0x80, 0x83, 0xA0, 0xC1, 0xE1])])
        + talk.random.choice([b"\0", b"\2\0\7", b"\4\0\7\0\0"]),
        "type": lambda: one_of(b"\x00\x00", b"\xf0\x00", b"\xf0\x02\x18\x00", b"\xd0\x00", b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00", b"\x90\x03\x00\x09\x00", b"\xb0\x02\x00\x09"),
        "QoS 3": lambda: packet(0x36, field("a"), number(7), none, b"x"),
        "DUP at QoS 0": lambda: packet(0x38, field("a"), none, b"x"),
        "identifier 0": lambda: talk.random.choice([
            packet(0x32, field("a"), number(0), none, b"x"), packet(0x34, field("a"), number(0), none, b"x"),
            packet(0x82, number(0), none, field("a"), b"\0"), packet(0xA2, number(0), none, field("a")),
            b"\x40\2\0\0", b"\x50\2\0\0", b"\x62\2\0\0", b"\x70\2\0\0",
        ]),
        "trailing": lambda: talk.random.choice([b"\x40\3\0\7\0", b"\x62\3\0\7\0", b"\xc0\1\0", b"\xe0\1\0", b"\xe0\2\0\0", b"\x40\5\0\7\0\0\0"]),
        "cut": lambda: talk.random.choice([b"\x40\1\0", b"\x40\0", b"\x30\0", b"\x30\1\0", b"\x30\3\0\5a", b"\x82\1\0", b"\x82\4\0\7\0\5", b"\x32\4\0\1a\0"]),
        "lengths": lambda: talk.random.choice([b"\xc0\x80\x00", b"\x30\xff\xff\xff\xff\x01", b"\xc0\x80\x80\x80\x00", b"\xe0\x80\x00"]),
        "open too many": lambda: b"".join(wire.publish(version, "$h/x", b"many", one_of(1, 2), 0, 0, id) for id in range(1000, 1030)),
        "identifier of another kind": lambda: wire.publish(version, "$h/x", b"one", 2, 0, 0, 900) + wire.publish(version, "$h/x", b"two", 1, 0, 0, 900),
        "same identifier, another message": lambda: wire.publish(version, "$h/x", b"one", 2, 0, 0, 901) + wire.publish(version, "$h/x", b"two", 2, 0, 0, 901),
        "PUBREL twice": lambda: wire.publish(version, "$h/x", b"one", 2, 0, 0, 902) + wire.ack(version, wire.PUBREL, 902) * 2,
        "same identifier for SUBSCRIBE and PUBLISH": lambda: packet(0x82, number(903), none, field("nothing"), b"\0") + wire.publish(version, "$h/x", b"one", 1, 0, 0, 903),
        "changed": lambda: changed(talk, talk.random.choice([
            packet(0x82, number(9), none, field("a"), b"\1"), packet(0xA2, number(9), none, field("a")),
            wire.publish(version, "a/b", b"changed", 1, 0, 0, 28), wire.publish(version, "a", b"changed", 0, 0, 0, 28),
            wire.ack(version, wire.PUBREL, 7), b"\xe0\0", b"\xc0\0",
        ])),
    }  # fmt: skip
    if is_5:
        bad = lambda *pairs: wire.publish(5, "a", b"bad", one_of(0, 1, 1), 0, 0, 27, *pairs)
        choices |= {
            "alias": lambda: wire.publish(5, one_of("a", ""), b"alias", one_of(0, 1), 0, 0, 27, (0x23, one_of(0, 9, 11, 65535))),
            "no topic": lambda: wire.publish(5, "", b"none", one_of(0, 1), 0, 0, 27),
            "property of a message": lambda: bad(talk.random.choice([
                (0x01, 2), (0x01, 255), (0x02, 0), (0x08, "a/+"), (0x08, ""), (0x08, "#"), (0x0B, 1), (0x03, b"\xff"),
                (0x03, b"a\0"), (0x26, (b"\xff", b"v")), (0x11, 1), (0x7F, 1), (0x00, 1), (0x24, 1), (0x18, 1), (0x08, b"\xed\xa0\x80"),
            ])),
            "property twice": lambda: bad(*[talk.random.choice([(0x01, 1), (0x02, 5), (0x03, "t"), (0x08, "r"), (0x09, b"c"), (0x23, 1)])] * 2),
            "payload that is no text": lambda: wire.publish(5, "a", b"\xff\xfe", one_of(0, 1), 0, 0, 27, (0x01, 1)),
            "subscription identifier": lambda: packet(0x82, number(9), props(5, *talk.random.choice([
                [(0x0B, 0)], [(0x0B, 268435456)], [(0x0B, 1)] * 2, [(0x23, 1)], [(0x1F, "why")], [(0x02, 1)],
            ])), field("a"), b"\0"),
            "property of another": lambda: talk.random.choice([
                packet(0x40, number(7), b"\0", props(5, (0x11, 1))), packet(0x40, number(7), b"\0", props(5, (0x1F, "a"), (0x1F, "b"))),
                packet(0x62, number(7), b"\0", props(5, (0x1F, "why"), (0x26, ("k", "v")))),
                packet(0xA2, number(7), props(5, (0x0B, 1)), field("a")), packet(0xE0, b"\0", props(5, (0x1C, "x"))),
                packet(0xE0, b"\0", props(5, (0x11, 1), (0x11, 1))), packet(0xE0, b"\0", props(5, (0x1F, "bye"))),
            ]),
            "reason code": lambda: talk.random.choice([
                packet(0x40, number(7), bytes([one_of(1, 0x10, 0x80, 0x92, 0xFF)])), packet(0x62, number(7), bytes([one_of(0x80, 0x92, 0x10)])),
                packet(0xE0, bytes([one_of(1, 4, 0x81, 0x8B, 0x8E, 0x99, 0xFF)])), packet(0x50, number(7), bytes([one_of(1, 0x10, 0x80)])),
            ]),
            "session expiry in DISCONNECT": lambda: packet(0xE0, b"\0", props(5, (0x11, one_of(0, 1000, 0xFFFFFFFF)))),
            "lengths of properties": lambda: talk.random.choice([
                packet(0x30, field("a"), b"\5", b"x"), packet(0x30, field("a"), b"\x80\x00", b"x"), packet(0x30, field("a"), b"\2\1", b""),
                packet(0x82, number(9), b"\x80\0", field("a"), b"\0"), packet(0x30, field("a"), b"\xff\xff\xff\xff\1", b"x"),
                packet(0xE0, b"\0", b"\4\x1f\0\1"),
            ]),
            "AUTH": lambda: talk.random.choice([packet(0xF0, bytes([one_of(0x18, 0x19, 0)]), props(5, (0x15, "m"))), packet(0xF0, b"\x19", props(5))]),
        }  # fmt: skip
    if not slot.is_accepted:
        choices = {"before CONNECT": lambda: talk.random.choice([packet(0x82, number(9), none, field("a"), b"\1"), b"\xc0\0", b"\xe0\0", wire.publish(version, "a", b"early")])}
    label = talk.random.choice(list(choices))
    return label, choices[label]()


def changed(talk, data):
    """One byte, or one bit of it."""
    at = talk.random.randrange(len(data))
    byte = data[at] ^ 1 << talk.random.randrange(8) if talk.chance(0.5) else talk.random.randrange(256)
    return data[:at] + bytes([byte]) + data[at + 1 :]


def connect_of(talk, slot):
    """The version, a name for it, and its bytes."""
    one_of, choice = talk.one_of, talk.random.choice
    version = one_of(4, 5)
    is_5 = version == 5

    def connect(flags=2, pairs=(), id=slot.own_id, rest=b"", name="MQTT", level=version, keep_alive=60):
        return packet(0x10, field(name), bytes([level, flags]), number(keep_alive), props(version, *pairs), field(id), rest)

    will = props(version) + field("a") + field("odd will")
    choices = {
        "name": lambda: connect(name=one_of("MQIsdp", "MQTT5", "", "mqtt", "MQT")),
        "level": lambda: connect(level=one_of(0, 3, 6, 0x83, 0x84, 0x85, 255)),
        "reserved flag": lambda: connect(flags=3),
        "will flags without will": lambda: connect(flags=one_of(0x0A, 0x22, 0x12)),
        "will QoS 3": lambda: connect(flags=0x1E, rest=will),
        "will topic": lambda: connect(flags=6, rest=props(version) + field(choice(ODD_TOPICS)) + field("odd will")),
        "will missing": lambda: connect(flags=6),
        "password alone": lambda: connect(flags=0x42, rest=field("password")),
        "user name missing": lambda: connect(flags=0x82),
        "user name": lambda: connect(flags=0x82, rest=field(one_of(b"", b"\xff", b"a\0", b"\xed\xa0\x80"))),
        "no identifier": lambda: connect(flags=one_of(0, 2), id=""),
        "identifier": lambda: connect(id=choice([b"\xff", b"a\0b", b"\xed\xa0\x80", b"a/b#+$ ", b"i" * 65535, b"\x01", "\ufeff".encode()])),
        "behind the end": lambda: connect(rest=b"\0"),
        "cut": lambda: connect()[:-1],
        "flags of the header": lambda: b"\x11" + connect()[1:],
        "twice": lambda: connect() * 2,
        "with more behind it": lambda: connect() + wire.publish(version, "a", b"at once", one_of(0, 1), 0, 0, 3) + packet(0x82, number(9), props(version), field("a"), b"\1"),
        "changed": lambda: changed(talk, connect(flags=6, rest=will)),
        "before CONNECT": lambda: choice([b"\xc0\0", b"\xe0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00", b"\x30\x03\x00\x01a", b"\xf0\x00"]),
    }  # fmt: skip
    if is_5:
        choices |= {
            "property": lambda: connect(pairs=choice([
                [(0x21, 0)], [(0x27, 0)], [(0x27, 1)], [(0x27, 10)], [(0x17, 2)], [(0x19, 2)], [(0x16, b"d")], [(0x15, "m")], [(0x15, "m"), (0x16, b"d")],
                [(0x11, 1)] * 2, [(0x21, 5)] * 2, [(0x22, 5)] * 2, [(0x23, 1)], [(0x02, 1)], [(0x7F, 1)], [(0x24, 1)], [(0x1F, "x")], [(0x18, 1)],
                [(0x26, (b"\xff", b"v"))], [(0x15, b"\xff")], [(0x15, "")],
            ])),
            "property of the will": lambda: connect(flags=6, rest=props(5, *choice([
                [(0x01, 2)], [(0x02, 0)], [(0x08, "a/+")], [(0x08, "")], [(0x18, 5)] * 2, [(0x11, 5)], [(0x23, 1)], [(0x0B, 1)], [(0x03, b"\xff")], [(0x01, 1)] * 2,
            ])) + field("a") + field("odd will")),
        }  # fmt: skip
    label = choice(list(choices))
    return version, label, choices[label]()
