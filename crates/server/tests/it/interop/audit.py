"""Verifies an exported audit log and proofs from it with pymerkle and PyNaCl alone.

Called as `audit.py KEY EXPORT [PROOF ...]`, or, for the way into the log that witnesses
cosign, as `audit.py cosigned PROOF KEY SUPERKEY WITNESSKEY ...`; prints what it found as one line of JSON.
Written from RFC 6962, RFC 9162 and the C2SP formats, not from our code.
"""

import base64
import hashlib
import json
import sys

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from pymerkle import InmemoryTree


class Wrong(Exception):
    pass


def demand(holds, words):
    if not holds:
        raise Wrong(words)


def verifier(text, kind=1):
    name, key_hash, blob = text.split("+", 2)
    blob = base64.b64decode(blob, validate=True)
    demand(blob[0] == kind and len(blob) == 33, "key type")
    wanted = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4].hex()
    demand(wanted == key_hash, "key hash")
    return name, bytes.fromhex(key_hash), VerifyKey(blob[1:])


def opened(note, key):
    """The size and root of a signed note."""
    name, key_hash, verify_key = key
    text, lines = note.rsplit("\n\n", 1)
    text += "\n"
    for line in lines.splitlines():
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if dash == "\u2014" and signer == name and blob[:4] == key_hash:
            try:
                verify_key.verify(text.encode(), blob[4:])
            except BadSignatureError:
                raise Wrong("signature")
            origin, size, root = text.splitlines()[:3]
            demand(origin == name, "origin")
            return int(size), base64.b64decode(root, validate=True)
    raise Wrong("unsigned")


def read_export(path, key):
    """The tree of the file, every checkpoint in it held against pymerkle's own root."""
    tree = InmemoryTree(algorithm="sha256")
    sizes, ended = [], False
    with open(path, encoding="utf-8", newline="\n") as lines:
        header = json.loads(next(lines))
        demand(key[0] == "strongroom/audit/" + header["tenant_id"], "whose log")
        for line in lines:
            line = json.loads(line)
            demand(not ended, "behind the end")
            if "record" in line:
                demand(line["i"] == tree.get_size(), "numbering")
                record = line["record"].encode()
                leaf = hashlib.sha256(b"\x00" + record).digest()
                demand(leaf == base64.b64decode(line["leaf"]), "record")
                demand(json.loads(record)["tenant_id"] == header["tenant_id"], "tenant")
                tree.append_entry(record)
            elif "checkpoint" in line:
                size, root = opened(line["checkpoint"], key)
                demand(size == tree.get_size() and root == tree.get_state(size), "root")
                sizes.append(size)
            else:
                demand(line["end"] == tree.get_size(), "end")
                ended = True
    demand(ended and sizes and sizes[-1] == tree.get_size(), "cut off")
    return tree, sizes


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def climb(first, last, path, *hashes):
    """RFC 9162, 2.1.3.2 and 2.1.4.2: the roots that a path leads to."""
    for sibling in path:
        demand(last > 0, "path too long")
        if first & 1 or first == last:
            hashes = tuple(node(sibling, one) for one in hashes)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            hashes = hashes[:-1] + (node(hashes[-1], sibling),)
        first, last = first >> 1, last >> 1
    demand(last == 0, "path too short")
    return hashes


def check_inclusion(proof, tree, key):
    size, root = opened(proof["checkpoint"]["note"], key)
    index = proof["log_index"]
    path = [base64.b64decode(text) for text in proof["hashes"]]
    leaf = hashlib.sha256(b"\x00" + proof["record"].encode()).digest()
    demand(climb(index, size - 1, path, leaf) == (root,), "inclusion")
    # The path that pymerkle makes for the same leaf: itself and the neighbours.
    theirs = tree.prove_inclusion(index + 1, size).path
    demand(theirs == [leaf] + path, "not pymerkle's path")


def check_consistency(proof, tree, key):
    first, old = opened(proof["first"]["note"], key)
    second, new = opened(proof["second"]["note"], key)
    demand(old == tree.get_state(first) and new == tree.get_state(second), "states")
    path = [base64.b64decode(text) for text in proof["hashes"]]
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    start = old if first & (first - 1) == 0 else path.pop(0)
    demand(climb(at, last, path, start, start) == (old, new), "consistency")


def check_cosignature(note, lines, key):
    """cosignature/v1: the witness' own line over the checkpoint's text and its time."""
    name, key_hash, verify_key = key
    text = note.rsplit("\n\n", 1)[0] + "\n"
    for line in lines:
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if dash != "\u2014" or signer != name or blob[:4] != key_hash:
            continue
        seconds = int.from_bytes(blob[4:12], "big")
        demand(seconds > 1_700_000_000, "time")
        message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        try:
            verify_key.verify(message, blob[12:])
        except BadSignatureError:
            raise Wrong("cosignature")
        return
    raise Wrong("not cosigned")


def cosigned(path, key, super_key, *witnesses):
    with open(path, encoding="utf-8") as file:
        proof = json.load(file)
    size, root = opened(proof["checkpoint"]["note"], verifier(key))
    leaf = hashlib.sha256(b"\x00" + proof["record"].encode()).digest()
    way = [base64.b64decode(text) for text in proof["hashes"]]
    demand(climb(proof["log_index"], size - 1, way, leaf) == (root,), "inclusion")
    above = proof["super_log"]
    size, root = opened(above["checkpoint"]["note"], verifier(super_key))
    leaf = hashlib.sha256(b"\x00" + proof["checkpoint"]["note"].encode()).digest()
    way = [base64.b64decode(text) for text in above["hashes"]]
    demand(climb(above["log_index"], size - 1, way, leaf) == (root,), "inclusion above")
    for witness in witnesses:
        check_cosignature(above["checkpoint"]["note"], above["cosignatures"], verifier(witness, 4))
    return {"ok": True, "cosigned": len(witnesses)}


def main():
    if sys.argv[1] == "cosigned":
        return cosigned(*sys.argv[2:])
    key = verifier(sys.argv[1])
    tree, sizes = read_export(sys.argv[2], key)
    for path in sys.argv[3:]:
        with open(path, encoding="utf-8") as file:
            proof = json.load(file)
        (check_consistency if "first" in proof else check_inclusion)(proof, tree, key)
    return {"ok": True, "sizes": sizes, "proofs": len(sys.argv) - 3}


if __name__ == "__main__":
    try:
        print(json.dumps(main()))
    except Exception as error:  # whatever is wrong with the file is what it says
        print(json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"}))
