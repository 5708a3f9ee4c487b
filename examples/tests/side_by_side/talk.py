"""A random conversation: a few clients that say the same to two brokers, step by step."""

import random
import time

import explained
import wire
from wire import field, number, packet, props

TOPICS = [
    "a", "a/b", "a/b/c", "a//b", "/a", "a/", "/", "b", "b/c", "$x", "$x/a", "a/$x", "\ufeff", "a/\ufeffb",
    " ", "$", "a/" * 100, "l" * 5000,
]  # fmt: skip
FILTERS = [
    "#", "+", "+/#", "a/#", "a/+", "+/b", "a/b", "/+", "/#", "+/+", "$x/#", "$x/+", "a//b", "a/b/#", "a/+/c",
    "+//b", " ", "a", "b/c", "\ufeff", "a/\ufeffb", "$", "$/#", "+/$x", "a/" * 100, "l" * 5000,
]  # fmt: skip
SHARED = ["$share/g/s/#", "$share/g/s/+", "$share/h/s/a"]
ODD_FILTERS = [
    b"", b"a#", b"#/a", b"a/#/b", b"+a", b"a+/b", b"##", b"a\0b", b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"a/\x01",
    b"$share//a", b"$share/g", b"$share/g/", b"$share/+/a", b"$share/g#/a", b"$share/g/a#", b"\xef\xbf\xbf", b"$share/", b"$share", b"$+", b"$share/g/$x/#",
    b"a/" * 300, b"x" * 65535,
]  # fmt: skip
ODD_TOPICS = [
    b"", b"a/+", b"#", b"+", b"a\0b", b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"a/\x01", b"\xef\xbf\xbf", b"\x7f",
    b"a/" * 300, b"x" * 65535, b"$SYS/x", b"$share/g/a", b"$share", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80",
]  # fmt: skip


def matches(filter, topic):
    """Whether a filter means a topic, level by level."""
    if topic.startswith("$") and filter[0] in "+#":
        return False
    wanted, levels = filter.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


# Filters of which no two mean the same topic: the ways part where there are several.
APART = [
    ["#", "$x/#"], ["a/#", "b", "b/c", " ", "/+", "$"], ["+", "+/+", "a/b/c"], ["a", "a/b", "a/b/c", "b"],
    ["+/b", "a", "b/c", "a/+/c", "\ufeff"], ["a/+", "+", "+//b"], ["a//b", "a/b", "a", "l" * 5000, "a/" * 100],
]


class Slot:
    """A place for one connection at a time, and the client that mostly sits there."""

    def __init__(self, name):
        self.name = name
        self.own_id = name
        self.version = 4
        self.client_id = name
        self.is_open = False
        self.is_accepted = False
        self.alias_maximum = 0
        self.aliases = {}
        self.flags = 0
        self.will = None
        self.receive_maximum = 65535


class Talk:
    def __init__(self, seed, sides, trace=False):
        self.seed, self.sides, self.trace = seed, sides, trace
        self.random = random.Random(seed)
        self.slots = [Slot(f"c{n}") for n in range(self.random.randint(2, 4))]
        self.is_timed = self.random.random() < 0.1
        self.overlap = self.random.random() < 0.2
        for slot in self.slots:
            slot.filters = FILTERS if self.overlap else self.random.choice(APART)
        self.payloads = 0
        # Per client identifier: QoS 1 and 2 messages that it has not finished.
        self.unfinished = {}
        # Per client identifier: the options of its subscriptions and their identifiers.
        self.subscriptions = {}
        self.asked = {}
        self.published = None
        # Whose wills wait for longer than this takes.
        self.waiting_wills = set()
        # Who takes, or has taken, no large packets.
        self.small = set()
        self.is_last = self.must_wait = False
        self.log = []
        self.met = {}

    # What steps are made of.

    def one_of(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def payload(self):
        self.payloads += 1
        size = self.one_of(0, 0, 0, 0, 100, 300)
        return f"m{self.payloads}".encode() + b"." * size

    def topic(self):
        if self.chance(0.15):
            return self.one_of("s/a", "s/b")
        return self.random.choice(TOPICS) if self.chance(0.3) else self.one_of("a", "a/b", "a/b/c", "b")

    def secs(self):
        return self.one_of(1, 1000) if self.is_timed else 1000

    def user_properties(self):
        return [(0x26, (self.one_of("k", ""), self.one_of("v", "w")))] * self.one_of(0, 0, 0, 1, 2)

    def message_properties(self):
        pairs = self.user_properties()
        for id, value in (
            (0x01, self.one_of(0, 1)), (0x02, self.secs()), (0x03, "text"), (0x08, "answer/here"), (0x09, b"\0\1"),
        ):  # fmt: skip
            if self.chance(0.15):
                pairs.append((id, value))
        self.random.shuffle(pairs)
        return pairs

    # Steps.

    def connect(self, slot):
        version = slot.version = self.one_of(4, 5, 5)
        client_id = slot.own_id
        if self.chance(0.1):
            client_id = self.random.choice(self.slots).own_id
        if self.chance(0.05):
            client_id = ""
        slot.client_id = client_id
        clean = self.chance(0.35)
        flags, body, delay = (2 if clean else 0), [], 0
        pairs = []
        if version == 5:
            for id, values in (
                (0x11, (0, 1000, 1000, self.secs(), 0xFFFFFFFF)), (0x21, (1, 2, 3, 65535)), (0x27, (40, 150, 100000)),
                (0x22, (0, 1, 10)), (0x17, (0, 1)), (0x19, (0, 1)),
            ):  # fmt: skip
                if self.chance(0.7 if id == 0x11 else 0.15):
                    pairs.append((id, self.random.choice(values)))
            pairs += self.user_properties()
        body.append(field(client_id))
        slot.will = None
        slot.receive_maximum = dict(pairs).get(0x21, 65535)
        if 0x27 in dict(pairs):
            self.small.add(client_id)
        if self.chance(0.35):
            qos, retain = self.one_of(0, 1, 2), self.one_of(0, 0, 1)
            flags |= 4 | qos << 3 | retain << 5
            will = self.message_properties() if version == 5 else []
            if version == 5 and self.chance(0.5):
                will.append((0x18, self.one_of(0, self.secs())))
                delay = will[-1][1]
            payload = b"" if self.chance(0.05) else self.payload()
            slot.will = payload[:12], delay, dict(pairs).get(0x11, 0)
            topic = self.topic()
            if topic.startswith("$"):
                retain, flags = 0, flags & ~0x20
            slot.message_of_will = {"topic": topic, "qos": qos, "retain": retain, "by": client_id}
            body += [props(version, *will), field(topic), field(payload)]
        if self.chance(0.1):
            flags |= 0x80
            body.append(field("user"))
            if self.chance(0.7):
                flags |= 0x40
                body.append(field("password"))
        keep_alive = self.one_of(0, 60, 65535)
        auto, releases = self.overlap or self.chance(0.5), self.chance(0.7)
        slot.flags = flags

        def act(side):
            old = side.connections.get(slot.name)
            assert old is None or old.is_over
            connection = side.open(slot.name, version, client_id)
            connection.auto = auto
            connection.releases = releases
            connection.write(packet(0x10, field("MQTT"), bytes([version, flags]), number(keep_alive), props(version, *pairs), *body))

        taken = next((it for it in self.slots if it.is_accepted and it.client_id == client_id), None)
        if taken is not None and taken.will:
            # Whether it is published: mosquitto keeps it to itself, whatever was asked for.
            self.is_last = True
        if clean and client_id in self.waiting_wills:
            # It is due now, which mosquitto does not see.
            self.is_last = True
        self.waiting_wills.discard(client_id)
        if delay:
            self.waiting_wills.add(client_id)
        if clean and client_id:
            self.unfinished.pop(client_id, None)
        slot.is_open = True
        self.unfinished.setdefault(client_id, {})
        flag_names = f"{'clean' if clean else 'resume'}{' will' if flags & 4 else ''}{'' if auto else ' held'}"
        return f"CONNECT v{version} {client_id!r} {flag_names} {pairs} {body[1:]}", act, False

    def say(self, slot, label, data, is_odd=False):
        return label, lambda side: side.connections[slot.name].write(data), is_odd

    def subscribe(self, slot):
        pairs = []
        if slot.version == 5:
            pairs = [(0x0B, self.one_of(1, 2, 268435455))] if self.chance(0.4) else []
            pairs += self.user_properties()
        wanted = []
        for _ in range(self.one_of(1, 1, 1, 2, 3)):
            filter = self.random.choice(slot.filters) if self.chance(0.85) else self.random.choice(SHARED)
            options = self.one_of(0, 1, 2)
            if (before := self.subscriptions[slot.client_id].get(filter)) and self.chance(0.8):
                wanted.append((filter, before[0] if slot.version == 5 else before[0] & 3))
                continue
            if any(filter == other for other, _ in wanted) and self.chance(0.9):
                continue
            if slot.version == 5:
                options |= self.one_of(0, 0, 1) << 3 | self.one_of(0, 0, 1, 2) << 4
                if not filter.startswith("$share/"):
                    options |= self.one_of(0, 0, 0, 1) << 2
            before = self.subscriptions[slot.client_id].get(filter)
            if before is not None and before[0] != options:
                # mosquitto goes on by some of what was before.
                self.is_last = True
            if any(filter == other for other, _ in wanted):
                self.is_last = True
            wanted.append((filter, options))
        id = self.one_of(100, 101, 65535)
        self.asked = {"wanted": wanted, "id": [value for key, value in pairs if key == 0x0B]}
        body = [field(filter) + bytes([options]) for filter, options in wanted]
        shown = [(filter[:20], options) for filter, options in wanted]
        return self.say(slot, f"SUBSCRIBE {id} {shown} {pairs}", packet(0x82, number(id), props(slot.version, *pairs), *body))

    def unsubscribe(self, slot):
        filters = [self.random.choice(slot.filters + SHARED) for _ in range(self.one_of(1, 1, 2))]
        id = self.one_of(100, 101)
        self.asked = {"unwanted": filters}
        data = packet(0xA2, number(id), props(slot.version, *(self.user_properties() if slot.version == 5 else [])), *map(field, filters))
        return self.say(slot, f"UNSUBSCRIBE {id} {[filter[:20] for filter in filters]}", data)

    def publish(self, slot):
        topic, qos, retain = self.topic(), self.one_of(0, 1, 1, 2, 2), self.one_of(0, 0, 1)
        if qos == 2 and not self.sides[0].connections[slot.name].releases:
            # One broker passes it on when it comes, the other one when it is released.
            topic, retain = "$h/x", 0
        pairs = self.message_properties() if slot.version == 5 else []
        if topic.startswith("$"):
            # mosquitto keeps none of these.
            retain = 0
        self.published = {"topic": topic, "qos": qos, "retain": retain, "by": slot.client_id}
        payload = b"" if retain and self.chance(0.25) else self.payload()
        shown = topic
        if slot.version == 5 and slot.alias_maximum and not topic.startswith("$h/") and self.chance(0.3):
            alias = self.one_of(1, 2, slot.alias_maximum)
            if alias in slot.aliases and self.chance(0.6):
                self.published["topic"] = slot.aliases[alias]
                topic, shown = "", f"alias {alias}"
            else:
                slot.aliases[alias] = topic
            pairs.append((0x23, alias))
        open = self.unfinished[slot.client_id]
        id = self.random.choice([id for id in range(1, 30) if id not in open] or [30])
        data = wire.publish(slot.version, topic, payload, qos, retain, 0, id, *pairs)
        if qos:
            again = wire.publish(slot.version, self.published["topic"], payload, qos, retain, 1, id, *[p for p in pairs if p[0] != 0x23])
            open[id] = {"qos": qos, "again": again, "state": "published"}
        return self.say(slot, f"PUBLISH {shown[:30]!r} q{qos} r{retain} {id if qos else ''} {payload[:10]} {pairs}", data)

    def again(self, slot):
        """A message once more, with DUP: as after a new connection, or where it is not due."""
        open = self.unfinished[slot.client_id]
        candidates = [id for id in open if open[id]["state"] == "published"]
        if not candidates:
            return None
        id = self.random.choice(candidates)
        return self.say(slot, f"PUBLISH once more {id} q{open[id]['qos']}", open[id]["again"])

    def release(self, slot):
        open = self.unfinished[slot.client_id]
        candidates = [id for id in open if open[id]["state"] == "received"]
        if candidates and not self.chance(0.1):
            id = self.random.choice(candidates)
        else:
            id = self.one_of(1, 7, 30, 500)
        return self.say(slot, f"PUBREL {id}", wire.ack(slot.version, wire.PUBREL, id))

    def acknowledge(self, slot):
        """One that is held, as a receiver does, whichever it is."""
        held = [[entry["key"] for entry in side.connections[slot.name].held] for side in self.sides]
        common = [key for key in held[0] if key in held[1]]
        if not common:
            return None
        key = self.random.choice(common) if self.chance(0.3) else common[0]
        code = self.one_of(0, 0, 0, 0x80) if slot.version == 5 and "release" not in key else 0

        def act(side):
            connection = side.connections[slot.name]
            entry = next(entry for entry in connection.held if entry["key"] == key)
            connection.held.remove(entry)
            connection.write(wire.ack(slot.version, entry["then"], entry["id"], code))

        return f"acknowledge {key[:60]!r} {code:#x}", act, False

    def stray(self, slot):
        """An acknowledgement that nothing waits for."""
        type = self.one_of(wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP)
        id = self.one_of(4000, 65535)
        code = self.one_of(0, 0, 0x92 if type in (wire.PUBREL, wire.PUBCOMP) else 0x80) if slot.version == 5 else 0
        return self.say(slot, f"stray {wire.NAMES[type]} {id} {code:#x}", wire.ack(slot.version, type, id, code), True)

    def disconnect(self, slot):
        body, shown = b"", ""
        if slot.version == 5 and self.chance(0.5):
            code = self.one_of(0, 0, 4, 0x80, 0x98)
            pairs = [(0x11, self.one_of(0, 1000))] if self.chance(0.3) else []
            if code >= 0x80 and slot.will:
                self.is_last = True
            body, shown = bytes([code]) + props(5, *pairs), f"{code:#x} {pairs}"
        return self.say(slot, f"DISCONNECT {shown}", packet(0xE0, body), True)

    def hang_up(self, slot):
        def act(side):
            side.connections[slot.name].close()

        return "hang up", act, True

    def odd(self, slot):
        """Something that is not allowed, or is at the edge of it."""
        import odd

        label, data = odd.packet_of(self, slot)
        return self.say(slot, f"odd: {label}: {data[:60].hex()}", data, True)

    def odd_connect(self, slot):
        import odd

        version, label, data = odd.connect_of(self, slot)
        slot.version, slot.client_id = version, slot.own_id
        self.unfinished.setdefault(slot.own_id, {})

        def act(side):
            connection = side.open(slot.name, version, slot.own_id)
            connection.write(data)

        slot.is_open = True
        return f"odd CONNECT: {label}: {data[:60].hex()}", act, True

    # The run.

    def expected(self, client_id):
        """What the standard wants a client to get of the message of this step, all of it in one copy."""
        message = self.published
        found, replaced = [], False
        for filter, (options, granted, ids, replaces) in self.subscriptions.get(client_id, {}).items():
            is_own = options & 4 and message["by"] == client_id
            if filter.startswith("$share/") or not matches(filter, message["topic"]):
                continue
            replaced = replaced or replaces
            if not is_own:
                found.append((options, granted, ids))
        if not found:
            return None, replaced
        qos = min(message["qos"], max(granted for _, granted, _ in found))
        retain = message["retain"] and any(options & 8 for options, _, _ in found)
        return [qos, int(retain), tuple(sorted(sum((ids for _, _, ids in found), [])))], replaced or len(found) > 1

    def next_step(self):
        slot = self.random.choice(self.slots)
        if self.must_wait:
            self.must_wait = False
            return slot, ("wait", lambda side: None, True)
        if not slot.is_open:
            step = self.odd_connect if self.chance(0.1) else self.connect
        elif not slot.is_accepted:
            step = self.odd if self.chance(0.5) else self.hang_up
        else:
            steps = {
                self.publish: 30, self.subscribe: 14, self.acknowledge: 20, self.release: 8, self.unsubscribe: 4,
                self.again: 3, self.disconnect: 4, self.hang_up: 5, self.stray: 1, self.odd: len(self.log) / 20,
            }  # fmt: skip
            step = self.random.choices(list(steps), list(steps.values()))[0]
        return slot, step(slot)

    def run(self, count):
        """So many steps; answers what differs, or None."""
        done = 0
        while done < count:
            slot, step = self.next_step()
            if step is None:
                continue
            done += 1
            label, act, is_odd = step
            if "PUBLISH" not in label or "once more" in label:
                self.published = slot.message_of_will if slot.will and slot.is_accepted else None
            if self.is_timed and label != "wait":
                self.must_wait = label.startswith(("hang up", "DISC", "odd")) or "CONNECT" in label or "(2, 1)" in label
            if "SUBSCRIBE" not in label:
                self.asked = {}
            if slot.will and slot.will[1] and not slot.will[2] and label.startswith(("hang up", "DISC")):
                # Its session ends, so that the will is due, which mosquitto does not see.
                self.is_last = True
            if label.startswith("odd:") or any(name in label for name in ("twice", "more behind", "changed")):
                # What it has done to what is kept is said by nobody.
                self.is_last = True
            self.log.append(f"{slot.name} {label}")
            if self.trace:
                print(f"-- {done} {self.log[-1]}", flush=True)
            for side in self.sides:
                act(side)
            if label == "wait":
                time.sleep(2.6)
            heard = []
            for side in self.sides:
                side.settle(slot.name, is_odd)
                heard.append(side.hear())
            differs = self.compare(heard)
            if differs:
                for side, so_far in zip(self.sides, heard):
                    side.later()
                    for name, said in side.hear().items():
                        so_far.setdefault(name, []).extend(said)
                differs = self.compare(heard)
            if self.trace:
                for side, told in zip(self.sides, heard):
                    for name, said in told.items():
                        for event in said:
                            print(f"     {side.name} {name} {event}")
            if differs:
                why = explained.why(self, slot, label, heard, differs)
                if why is None:
                    return done, label, differs, heard
                for name, *_ in why:
                    self.met[name] = self.met.get(name, 0) + 1
                if any(row[3] for row in why):
                    return None
            self.follow(heard)
            if self.is_last:
                break
        return None

    def compare(self, heard):
        views = [explained.view(self, told) for told in heard]
        differs = {}
        for name in sorted(set(views[0]) | set(views[1])):
            one, other = (view.get(name, {}) for view in views)
            for kind in sorted(set(one) | set(other), key=str):
                if one.get(kind) != other.get(kind):
                    differs[name, kind] = (one.get(kind), other.get(kind))
        return differs

    def follow(self, heard):
        """What both brokers said changes what is open."""
        for slot in self.slots:
            connections = [side.connections.get(slot.name) for side in self.sides]
            if any(connection is None or connection.is_over for connection in connections):
                for connection in connections:
                    if connection is not None:
                        connection.close()
                slot.is_open = slot.is_accepted = False
                continue
            slot.is_accepted = all(connection.is_accepted for connection in connections)
            for event in heard[0].get(slot.name, []):
                open = self.unfinished[slot.client_id]
                if event["type"] == "CONNACK":
                    slot.aliases = {}
                    slot.alias_maximum = min(dict(event["props"]).get(0x22, 0), 10)
                    if not event["present"]:
                        open.clear()
                        self.subscriptions[slot.client_id] = {}
                if event["type"] == "SUBACK" and "wanted" in self.asked:
                    for (filter, options), code in zip(self.asked["wanted"], event["codes"]):
                        mine = self.subscriptions[slot.client_id]
                        replaces = filter in mine and (mine[filter][3] or mine[filter][:3] != (options, code, self.asked["id"]))
                        mine[filter] = (options, code, self.asked["id"], replaces)
                if event["type"] == "UNSUBACK" and "unwanted" in self.asked:
                    for filter in self.asked["unwanted"]:
                        self.subscriptions[slot.client_id].pop(filter, None)
                if event["type"] in ("PUBACK", "PUBCOMP") or event["type"] == "PUBREC" and event["code"] >= 0x80:
                    open.pop(event["id"], None)
                elif event["type"] == "PUBREC" and event["id"] in open and not connections[0].releases:
                    open[event["id"]]["state"] = "received"
