"""The wildcards of the tutorials."""

import paho.mqtt.client as mqtt

from common import PATIENCE, VERSION, Inbox, connect, make, publish, start, stop

rooms = ["bedroom", "kitchen", "dining-room", "study-room"]
_, one = start("subscriber-1", ["home/+/temperature"])
_, all_home = start("subscriber-2", ["home/#"])
for number, room in enumerate(rooms):
    publisher, _ = start(f"publisher-{number}")
    publish(publisher, f"home/{room}/temperature", room)
    stop(publisher)
expected = [(f"home/{room}/temperature", room, 1, False) for room in rooms]
assert one.wait_messages(4) == expected, one.messages
assert all_home.wait_messages(4) == expected, all_home.messages

_, class_one = start("subscriber-3", ["school/class-1/#"])
_, group_one = start("subscriber-4", ["school/+/group-1/audio"])
_, everything = start("subscriber-5", ["#"])
publisher, _ = start("publisher-school")
topics = [f"school/class-{number}/group-{group}/audio" for number in (1, 2) for group in (1, 2)]
for topic in topics:
    publish(publisher, topic, "lesson")
publish(publisher, "$hidden/audio", "for nobody with a leading wildcard")
publish(publisher, "end", "end")
assert [topic for topic, *_ in class_one.wait_messages(2)] == topics[:2]
assert [topic for topic, *_ in group_one.wait_messages(2)] == [topics[0], topics[2]]
assert [topic for topic, *_ in everything.wait_messages(5)] == topics + ["end"]
for inbox in (one, all_home):
    assert len(inbox.messages) == 4, inbox.messages

# paho checks filters too, so the forbidden one is sent past its check.
client = make("subscriber-6")
inbox = Inbox(client)
ended = []


def on_disconnect(client, userdata, flags, reason_code, properties):
    with inbox.changed:
        ended.append(reason_code)
        inbox.changed.notify_all()


client.on_disconnect = on_disconnect
connect(client)
client.loop_start()
inbox.wait(lambda: inbox.connected is not None)
properties = None
if VERSION == mqtt.MQTTv5:
    options = mqtt.SubscribeOptions(qos=1)
    client._send_subscribe(False, [(b"school/#/group-1/#", options)], properties)
else:
    client._send_subscribe(False, [(b"school/#/group-1/#", 1)])
inbox.wait(lambda: ended)
client.loop_stop()
if VERSION == mqtt.MQTTv5:
    assert ended[0].value == 0x82, ended
stop(publisher)
