"""Says what Python's json takes each message for; see README.md."""
import base64
import json
import sys

# Integers of any length: a number in the arguments is not what is compared.
sys.set_int_max_str_digits(0)


def reading(m):
    p = m.get("params", {})
    r = p.get("ref", {})
    n = p.get("notifications", {})
    return {
        "method": m.get("method"),
        "id": None if m.get("id") is None else str(m["id"]),
        "name": p.get("name"),
        "uri": p.get("uri"),
        "taskId": p.get("taskId"),
        "version": p.get("protocolVersion"),
        "metaVersion": p.get("_meta", {}).get("io.modelcontextprotocol/protocolVersion"),
        "refType": r.get("type"),
        "refName": r.get("name"),
        "refURI": r.get("uri"),
        "resources": n.get("resourceSubscriptions", []),
        "taskIds": n.get("taskIds", []),
    }


for line in open(sys.argv[1], "rb"):
    # As the official SDK does: from bytes, so that the encoding is guessed.
    print(json.dumps(reading(json.loads(base64.b64decode(line)))))
