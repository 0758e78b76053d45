"""A sender of commands that keeps a ledger of what was answered.

Usage: command_client.py NAME. Each command carries an id of its own and is sent until it is answered, so the server may
see it several times. Every seventh is sent again on purpose after its answer. Rejections are expected answers too.
"""

import sys
import uuid

from workload import STOP, Http, Ledger

client = sys.argv[1]
ledger, http = Ledger(client), Http()
ITINERARY = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "scheduled": "2013-01-01T05:15:00"}

sent = 0


def send(flight, command, data, expected_status):
    """Sends one command until it is answered and writes down what the answer said."""
    global sent
    sent += 1
    body = {"command_id": str(uuid.uuid4()), "type": command, "data": data}
    path = f"/v1/commands/flight/{flight}"
    status, answer = http.ask("POST", path, body)
    if status != expected_status:
        sys.exit(f"{command} of {flight} answered {status}: {answer}")
    if status == 200:
        ledger.write([f"{flight} {command} {answer['version']} {answer['positions']}"])
        if sent % 7 == 0:
            again = http.ask("POST", path, body)
            if again[0] != 200 or again[1]["version"] != answer["version"] or again[1]["positions"] != answer["positions"]:
                sys.exit(f"{command} of {flight} sent twice answered {again}, and before {answer}")


number = 0
while not STOP.exists():
    flight = f"F{number:06d}"
    send(flight, "schedule", ITINERARY, 200)
    if number % 5 == 4:
        send(flight, "cancel", {"reason": "weather"}, 200)
        send(flight, "depart", {}, 422)
    else:
        send(flight, "depart", {"delay_minutes": number % 60}, 200)
        send(flight, "arrive", {"delay_minutes": number % 90 - 30}, 200)
    number += 1
print(f"client {client} sent {sent} commands for {number} flights")
