"""One broker of the two, with the connections that a conversation has to it."""

import select
import socket
import subprocess
import time

import wire

PATIENCE = 10.0


class Connection:
    """One network connection: bytes out, what came in as packets with aliases resolved."""

    def __init__(self, address, version):
        self.version = version
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.said = []
        self.pongs = 0
        self.is_over = False
        self.is_accepted = False
        self.aliases = {}
        # Whether deliveries are acknowledged as they come; those that are not, in their order.
        self.auto = True
        self.held = []
        # Whether what is received is released at once.
        self.releases = False
        # What this session's identifiers stand for, also on connections after this one.
        self.stands_for = {}

    def write(self, data):
        if self.is_over:
            return
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def read(self, secs):
        """Takes what comes within so many seconds; answers whether anything has."""
        if self.is_over or not select.select([self.socket], [], [], secs)[0]:
            return False
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self.is_over = True
            self.said.append({"type": "end"})
            self.socket.close()
            return True
        self.buffer += data
        try:
            while (found := wire.split(self.buffer)) is not None:
                first, body, self.buffer = found
                self.take(first, body)
        except (wire.Malformed, UnicodeDecodeError) as error:
            self.said.append({"type": "malformed", "what": f"{error}: {data.hex()}"})
            self.close()
        return True

    def take(self, first, body):
        said = wire.parse(self.version, first, body)
        if said["type"] == "PINGRESP":
            self.pongs += 1
            return
        if said["type"] == "CONNACK" and said["code"] == 0:
            self.is_accepted = True
        if said["type"] == "PUBLISH":
            for id, alias in said["props"]:
                if id == 0x23:
                    if said["topic"]:
                        self.aliases[alias] = said["topic"]
                    said["topic"] = self.aliases.get(alias, "unknown alias")
            said["props"] = [pair for pair in said["props"] if pair[0] != 0x23]
            if said["qos"]:
                self.delivered(said)
        if said["type"] in ("PUBREL", "PUBCOMP", "PUBACK", "PUBREC"):
            said["key"] = self.stands_for.get(said["id"], "nothing")
        if said["type"] == "PUBREL":
            self.released(said)
        if said["type"] == "PUBREC" and self.releases and said["code"] < 0x80:
            self.write(wire.ack(self.version, wire.PUBREL, said["id"]))
        self.said.append(said)

    def delivered(self, said):
        key = f"{said['topic']} {said['payload'].decode(errors='replace')} {said['qos']}"
        self.stands_for[said["id"]] = key
        if self.auto or said["topic"].startswith("s/"):
            self.write(wire.ack(self.version, wire.PUBACK if said["qos"] == 1 else wire.PUBREC, said["id"]))
        else:
            self.held.append({"id": said["id"], "key": key, "then": wire.PUBACK if said["qos"] == 1 else wire.PUBREC})

    def released(self, said):
        if self.auto or said["key"].startswith("s/"):
            self.write(wire.ack(self.version, wire.PUBCOMP, said["id"]))
        else:
            self.held.append({"id": said["id"], "key": f"release {said['key']}", "then": wire.PUBCOMP})

    def ping(self):
        """Waits until all before has been heard, if the broker still speaks to us."""
        if self.is_over or not self.is_accepted:
            return
        expected = self.pongs + 1
        self.write(b"\xc0\x00")
        deadline = time.monotonic() + PATIENCE
        while not self.is_over and self.pongs < expected:
            left = deadline - time.monotonic()
            if left <= 0:
                # It waits for the rest of what it takes for a longer packet.
                self.said.append({"type": "silence"})
                return
            self.read(left)

    def drain(self, secs):
        """Takes what comes until there is silence for so long."""
        while self.read(secs):
            pass

    def close(self):
        if not self.is_over:
            self.is_over = True
            self.socket.close()


class Side:
    """A broker that runs for one conversation."""

    def __init__(self, name, command, port):
        self.name, self.port = name, port
        output = subprocess.PIPE if port is None else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT if port is None else output)
        if port is None:
            line = self.process.stdout.readline().decode()
            while "listening on" not in line:
                assert line, "our broker has ended"
                line = self.process.stdout.readline().decode()
            self.port = int(line.rsplit(":", 1)[1])
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{name} does not run"
                time.sleep(0.005)
        self.connections = {}
        self.sessions = {}

    def open(self, slot, version, client_id):
        connection = Connection(("127.0.0.1", self.port), version)
        if client_id:
            connection.stands_for = self.sessions.setdefault(client_id, {})
        self.connections[slot] = connection
        return connection

    def settle(self, actor, is_odd):
        """Waits until everybody has heard what a step of the actor led to."""
        connection = self.connections.get(actor)
        if connection is not None:
            if is_odd or not connection.is_accepted:
                connection.drain(0.03)
            else:
                connection.ping()
        else:
            time.sleep(0.01)
        quiet = 0
        while quiet < 2:
            before = self.count()
            for connection in self.connections.values():
                connection.ping()
            quiet = quiet + 1 if self.count() == before else 0

    def count(self):
        return sum(len(connection.said) for connection in self.connections.values())

    def later(self):
        """Whatever comes late."""
        for connection in self.connections.values():
            connection.drain(0.15)
        for connection in self.connections.values():
            connection.ping()

    def hear(self):
        """What each client has been told since it was asked last."""
        heard = {}
        for client, connection in self.connections.items():
            if connection.said:
                heard[client] = connection.said
                connection.said = []
        return heard

    def end(self):
        for connection in self.connections.values():
            connection.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
