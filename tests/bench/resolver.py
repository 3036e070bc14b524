"""A name server that knows one name: python -m tests.bench.resolver ADDRESS NAME NAME_ADDRESS"""

import socket
import sys

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 3600


def answer(wire: bytes, name: str, address: str) -> bytes:
    """The answer to a query: the A record, no data for another type, NXDOMAIN for another name."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA | dns.flags.RA
    question = query.question[0]
    if question.name.to_text(omit_final_dot=True).lower() != name:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif question.rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", address))
    return response.to_wire()


def main() -> None:
    """Answers until it is ended."""
    listen, name, address = sys.argv[1:]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((listen, 53))
    while True:
        wire, peer = sock.recvfrom(4096)
        sock.sendto(answer(wire, name, address), peer)


if __name__ == "__main__":
    main()
