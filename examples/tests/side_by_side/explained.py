"""What each client has to see alike at both brokers, and the differences that are known, with what the standard
says about them. A difference that no row explains is a fault, ours or theirs."""


def properties(pairs):
    """Properties of a message as they compare: order only among user properties, times roughly."""
    users = [value for id, value in pairs if id == 0x26]
    others = sorted((id, value if id != 0x02 else value > 900) for id, value in pairs if id != 0x26)
    return (tuple(users), tuple(others))


def take(messages, event):
    """Adds a message, or what another copy of it for a further subscription says."""
    payload, (users, others) = event["payload"][:12], properties(event["props"])
    ids = tuple(value for id, value in others if id == 0x0B)
    others = tuple(pair for pair in others if pair[0] != 0x0B)
    one = [payload, event["qos"], event["dup"], event["retain"], ids, users, others]
    before = messages[-1] if messages else None
    if before and before[0] == payload and before[5:] == one[5:]:
        before[1:4] = [max(pair) for pair in zip(before[1:4], one[1:4])]
        before[4] = tuple(sorted(before[4] + ids))
        return
    messages.append(one)


def is_apart(topic):
    """Who gets these, or when, is free: a member of a group, what waits for its release at one of the brokers."""
    return topic.startswith(("s/", "$h/"))


def view(talk, heard):
    """What was heard, by client and kind, without what the standard leaves free: identifiers of a broker, reason
    strings, the order of messages of different topics, aliases, one copy or several."""
    seen = {}
    for name, events in heard.items():
        mine = seen.setdefault(name, {})
        for event in events:
            type = event["type"]
            if type == "PUBLISH":
                if not is_apart(event["topic"]):
                    take(mine.setdefault(("PUBLISH", event["topic"][:40]), []), event)
            elif type == "CONNACK":
                assigned = any(id == 0x12 for id, _ in event["props"])
                mine.setdefault(type, []).append((event["present"], event["code"], assigned))
            elif type in ("SUBACK", "UNSUBACK"):
                mine.setdefault(type, []).append((event["id"], tuple(event["codes"])))
            elif type == "PUBREL":
                if not is_apart(event["key"]):
                    mine.setdefault(type, []).append((event["key"][:50], event["code"]))
            elif type in ("PUBACK", "PUBREC", "PUBCOMP"):
                # Whether it says that nobody has subscribed is free.
                code = 0 if event["code"] == 0x10 else event["code"]
                mine.setdefault(type, []).append((event["id"], code))
            elif type == "malformed":
                mine.setdefault(type, []).append(event["what"][:80])
            elif type in ("DISCONNECT", "AUTH"):
                mine.setdefault(type, []).append(event["code"])
            else:
                mine.setdefault(type, []).append(True)
        if "PUBREL" in mine:
            # Their order is that of the answers to messages whose order is free.
            mine["PUBREL"] = sorted(set(mine["PUBREL"]))
    return seen


class Case:
    """One difference."""

    def __init__(self, talk, slot, label, heard, name, kind, ours, theirs):
        self.talk, self.label, self.name, self.kind = talk, label, name, kind
        self.ours, self.theirs = ours or [], theirs or []
        self.slot = next(it for it in talk.slots if it.name == name)
        self.is_actor = name == slot.name
        self.ended = [any(event["type"] == "end" for event in told.get(slot.name, [])) for told in heard]

    @property
    def is_of_messages(self):
        return self.kind == "PUBREL" or self.kind[0] == "PUBLISH"

    @property
    def only_theirs_ends(self):
        return self.is_actor and self.ended == [False, True]

    def codes(self, kind, ours, theirs):
        """These codes where they differ, and nothing else."""
        if self.kind != kind or len(self.ours) != len(self.theirs):
            return False
        flat = lambda codes: codes if isinstance(codes, tuple) else (codes,)
        pairs = [
            (one, other)
            for (id, codes), (_, others) in zip(self.ours, self.theirs)
            for one, other in zip(flat(codes), flat(others))
        ]
        return all(one == other or (one, other) == (ours, theirs) for one, other in pairs)

    def is_due(self):
        """Ours is just what is due by all its subscriptions, where there are several or one was replaced."""
        if self.talk.published is None or not self.is_of_messages:
            return False
        due, is_special = self.talk.expected(self.slot.client_id)
        if self.kind == "PUBREL":
            return is_special
        return is_special and [one[1:2] + one[3:5] for one in self.ours] == ([] if due is None else [due])

    def is_will_of_ended_session(self):
        wills = [slot.will for slot in self.talk.slots if slot.will and slot.will[1] and not slot.will[2]]
        mine = self.kind == "PUBREL" or any(one[0] == will[0] for one in self.ours for will in wills)
        return self.is_of_messages and not self.theirs and bool(wills) and mine

    def is_of_window(self):
        if not self.label.startswith(("SUBSCRIBE", "acknowledge")) or not self.is_of_messages:
            return False
        return self.kind == "PUBREL" or all(one[3] for one in self.ours + self.theirs)

    def only_less(self):
        """Ours has nothing that theirs has not."""
        return self.kind == "PUBREL" or all(one in self.theirs for one in self.ours)

    def has_filter_twice(self):
        filters = [filter for filter, _ in self.talk.asked.get("wanted", [])]
        return self.is_actor and self.is_of_messages and len(set(filters)) < len(filters)

    def is_taken_over(self):
        return "CONNECT" in self.label and self.is_of_messages and self.talk.is_last


# Each with what the standard says, when it applies, and whether the conversation ends there, as what comes after
# it differs as well. Ours does as the standard says, unless it says that it is free.
RULES = [
    (
        "refused with another code, or without one",
        "free: 5.0, 4.13: a packet with the code is a should, and any of several codes will do",
        lambda it: it.is_actor and all(it.ended) and it.kind in ("CONNACK", "DISCONNECT"),
        False,
    ),
    (
        "PUBREL or PUBREC of nothing: mosquitto says success",
        "5.0, 3.6.2.1 and 3.7.2.1: 0x92",
        lambda it: it.codes("PUBCOMP", 0x92, 0) or it.codes("PUBREL", 0x92, 0),
        False,
    ),
    (
        "UNSUBSCRIBE of nothing: mosquitto says success, when it had the levels for something else",
        "5.0, 3.11.3: 0x11",
        lambda it: it.codes("UNSUBACK", 0x11, 0),
        False,
    ),
    (
        "taken over: mosquitto does not say so",
        "[5:MQTT-3.1.4-3]",
        lambda it: "CONNECT" in it.label and it.kind == "DISCONNECT" and it.ours == [0x8E] and not it.theirs,
        False,
    ),
    (
        "taken over: mosquitto keeps the will to itself, or gives it to the old connection",
        "[5:MQTT-3.1.2-8] [3:MQTT-3.1.2-8]",
        Case.is_taken_over,
        True,
    ),
    (
        "the will waits, and its session ends: mosquitto lets it wait on",
        "[5:MQTT-3.1.3-9]",
        Case.is_will_of_ended_session,
        True,
    ),
    (
        "DISCONNECT with an error: mosquitto drops the will",
        "[5:MQTT-3.14.4-3]: only 0x00 removes it",
        lambda it: it.label.startswith(("DISCONNECT 0x8", "DISCONNECT 0x9")) and it.is_of_messages and not it.theirs,
        True,
    ),
    (
        "overlapping or replaced subscriptions: mosquitto goes by one of them, or by what was before",
        "[5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.8.4-3]",
        Case.is_due,
        True,
    ),
    (
        "the same filter twice in one SUBSCRIBE: one replay, of the last",
        "5.0, 3.8.4: as if they came one by one; a replay that has not ended begins again (0005)",
        Case.has_filter_twice,
        True,
    ),
    (
        "which retained message is first with a small receive maximum",
        "free: 4.6 orders messages of one topic; mosquitto may also send none of them, or more than fit",
        lambda it: it.slot.receive_maximum <= 3 and it.is_of_window(),
        True,
    ),
    (
        "too large for its receiver: mosquitto does not count subscription identifiers, and looks when it sends",
        "[5:MQTT-3.1.2-24], and free: when it is looked at, so that a message is kept for a larger limit or not",
        lambda it: it.slot.client_id in it.talk.small and it.is_of_messages and it.only_less(),
        True,
    ),
    (
        "QoS 1, sent and expired: mosquitto does not send it again",
        "free: 5.0, 3.3.2.3.3 is about what has not been sent (0005)",
        lambda it: it.talk.is_timed and it.is_of_messages and not it.theirs and all(one[2] for one in it.ours),
        True,
    ),
    (
        "more messages than the Receive Maximum in one go: mosquitto has no room for one of them",
        "free: 5.0, 3.4.2.1: 0x97",
        lambda it: it.codes("PUBACK", 0, 0x97) or it.codes("PUBREC", 0, 0x97) or it.codes("PUBCOMP", 0, 0x97),
        True,
    ),
    (
        "QoS 1 with the identifier of QoS 2",
        "free: 5.0, 2.2.1 and 3.4.2.1; 0x91 here (0005)",
        lambda it: it.codes("PUBACK", 0x91, 0),
        True,
    ),
    (
        "an invalid shared filter in 3.1.1 is refused",
        "free: 3.1.1 has none; SUBACK 0x80 here",
        lambda it: it.label.startswith("odd: filter") and it.kind == "SUBACK" and it.ours and 0x80 in it.ours[0][1],
        True,
    ),
    (
        "a will with an expiry of 0: mosquitto publishes it",
        "5.0, 3.3.2.3.3: it has expired when it is published",
        lambda it: it.kind[0] == "PUBLISH" and not it.ours and it.theirs[0][0] == b"odd will",
        True,
    ),
    (
        "mosquitto leaves nothing out of a CONNACK that is too large, but closes",
        "5.0, 3.1.2.11.4: the properties that could be left out are not sent",
        lambda it: it.only_theirs_ends and "(39, 40)" in it.label,
        True,
    ),
    (
        "mosquitto takes 200 levels and no more",
        "free",
        lambda it: it.only_theirs_ends and "a/a/a/a/" in it.label,
        True,
    ),
    (
        "mosquitto refuses messages to $share and what is below it",
        "free: 4.7.2 is a should",
        lambda it: it.kind in ("PUBACK", "PUBREC", "PUBCOMP") and "2473686172" in it.label,
        True,
    ),
]

# Odd packets that only one of them takes, by their names in `odd.py`.
MOSQUITTO_TAKES = {
    "DUP at QoS 0": "[5:MQTT-3.3.1-2] [3:MQTT-3.3.1-2]",
    "changed": "one bit or byte of a packet: seen are flags of PINGREQ, a length that is not minimal, DUP at QoS 0",
    "filter": "4.7.3, [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2]: $share without a group or a filter, or with a wildcard",
    "filter beside a good one": "the same",
    "unsubscribe": "the same",
    "flags": "[5:MQTT-2.1.3-1] [3:MQTT-2.2.2-2]: those of PINGREQ and PUBCOMP",
    "lengths": "[5:MQTT-1.5.5-1]",
    "property of a message": "[5:MQTT-3.3.2-14], 4.7.3, 3.3.2.3.2: a Response Topic that is none, a format of 2",
    "reason code": "5.0, 3.4.2.1: a code that PUBACK does not have",
    "trailing": "2.1.4: bytes behind the last field",
    "type": "5.0, 4.13: SUBACK and others of a client",
    "property of another": "5.0, 2.2.2.2: a property that has no place there",
    "level": "[3:MQTT-3.1.2-2] [5:MQTT-3.1.2-2]: the highest bit, by which its own bridges say what they are (0005)",
    "name": "[5:MQTT-3.1.2-1] [3:MQTT-3.1.2-1]: MQIsdp is MQTT 3.1",
    "property of the will": "[5:MQTT-3.3.2-14], 4.7.3, 3.1.3.2: as for a message",
    "alias": "[5:MQTT-3.3.2-8]",
    "property": "5.0, 3.1.2.11.10: Authentication Data without a method",
}
MOSQUITTO_REFUSES = {
    "filter": "1.5.4: control characters and non-characters may be refused; 200 levels; `$share` alone",
    "filter beside a good one": "the same",
    "unsubscribe": "the same",
    "topic": "the same",
    "will topic": "the same",
    "identifier": "the same",
    "user name": "the same",
    "changed": "the same",
}


def odd(label, heard, slot):
    """Why one of them closes and the other does not, or None."""
    ended = [any(event["type"] == "end" for event in told.get(slot.name, [])) for told in heard]
    if not label.startswith("odd") or ended[0] == ended[1]:
        return None
    name = label.split(": ")[1]
    table, word = (MOSQUITTO_TAKES, "takes") if ended[0] else (MOSQUITTO_REFUSES, "refuses")
    return (f"odd packet that mosquitto {word}: {name}", table[name], None, True) if name in table else None


def why(talk, slot, label, heard, differs):
    """The rows that explain all differences of a step, or None."""
    row = odd(label, heard, slot)
    if row is not None:
        return [row]
    found = []
    for (name, kind), (ours, theirs) in differs.items():
        case = Case(talk, slot, label, heard, name, kind, ours, theirs)
        row = next((row for row in RULES if row[2](case)), None)
        if row is None:
            return None
        found.append(row)
    return found
