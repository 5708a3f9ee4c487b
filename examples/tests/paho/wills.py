"""Wills: who is gone, for how long, and who comes back in time."""

import time

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.packettypes import PacketTypes

from common import VERSION, cut, publish, start, stop, will

watcher, inbox = start("watcher", ["status/#"])
publisher, _ = start("publisher")


def said(expected):
    """What the watcher got, with a message behind it that says that nothing more is on its way."""
    publish(publisher, "status/end", "end")
    inbox.wait(lambda: any(payload == "end" for _, payload, _, _ in inbox.messages))
    with inbox.changed:
        got = [payload for _, payload, _, _ in inbox.messages]
        inbox.messages.clear()
    assert got == expected + ["end"], got


# Without a delay, at once, in both versions.
doomed, _ = start("doomed", prepare=will("status/doomed", "gone"))
cut(doomed)
inbox.wait_messages(1)
said(["gone"])

# A goodbye takes it back.
polite, _ = start("polite", prepare=will("status/polite", "gone"))
stop(polite)
said([])

# The one who takes over brings its own will; the older one is published.
first, _ = start("twin", prepare=will("status/twin", "first"))
first._reconnect_on_failure = False
second, _ = start("twin", prepare=will("status/twin", "second"))
inbox.wait_messages(1)
first.loop_stop()
said(["first"])
cut(second)
inbox.wait_messages(1)
said(["second"])

if VERSION == mqtt.MQTTv5:
    # It waits for its delay.
    patient, _ = start("patient", expiry=1000, prepare=will("status/patient", "gone", 2))
    began = time.monotonic()
    cut(patient)
    said([])
    inbox.wait_messages(1)
    assert time.monotonic() - began > 1.5
    said(["gone"])

    # Who comes back in time has no will to answer for.
    back, _ = start("back", expiry=1000, prepare=will("status/back", "gone", 1000))
    cut(back)
    back, back_inbox = start("back", clean=False, expiry=1000)
    assert back_inbox.connected.session_present
    stop(back)
    said([])

    # With a clean start the session ends, and the will does not wait.
    afresh, _ = start("afresh", expiry=1000, prepare=will("status/afresh", "gone", 1000))
    cut(afresh)
    afresh, afresh_inbox = start("afresh")
    assert not afresh_inbox.connected.session_present
    inbox.wait_messages(1)
    said(["gone"])
    stop(afresh)

    # The end of the session ends the delay.
    short, _ = start("short", expiry=1, prepare=will("status/short", "gone", 1000))
    cut(short)
    inbox.wait_messages(1)
    said(["gone"])
    short, short_inbox = start("short", clean=False, expiry=1)
    assert not short_inbox.connected.session_present
    stop(short)

    # A goodbye that asks for it.
    dramatic, _ = start("dramatic", prepare=will("status/dramatic", "gone"))
    dramatic.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
    dramatic.loop_stop()
    inbox.wait_messages(1)
    said(["gone"])

stop(publisher)
stop(watcher)
