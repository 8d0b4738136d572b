"""A recording SMTP server (aiosmtpd) with STARTTLS and AUTH, for harness/smtp.rs.

Arguments: a certificate and its key (PEM files), and a user and a password.
Prints the port it listens on, then one JSON object for each message; a message to refuse@… is refused for good (550),
one to busy@… for now (451), a client that calls itself stranger… at once (550). Ends with its standard input.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

CERTIFICATE, KEY, USER, PASSWORD = sys.argv[1:]


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        if hostname.startswith("stranger"):
            return ["550 5.7.1 that name is not known here"]
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse@"):
            return "550 5.1.1 no such mailbox here"
        if address.startswith("busy@"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        message = {
            "ehlo": session.host_name,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "encrypted": session.ssl is not None,
            "authenticated": bool(session.authenticated),
            "data": envelope.content.decode("utf-8", "replace"),
        }
        print(json.dumps(message), flush=True)
        return "250 2.0.0 kept as test-message"


def authenticate(server, session, envelope, mechanism, data):
    known = data.login == USER.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=known)


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE, KEY)

    def session():
        return SMTP(Handler(), hostname="localhost", tls_context=tls, require_starttls=True,
                    auth_required=True, authenticator=authenticate)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
