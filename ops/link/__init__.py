"""feiyu link: the small forwarder of a firm's machine. It imports the standard library and cryptography and nothing
else of Feiyu's, since it is shipped by itself (a zipapp) to machines that run Linux, macOS or Windows and Python 3.11
or newer.

It is a plain proxy on localhost for programs that cannot show a certificate. What they say goes to a gateway as it is,
inside mutual TLS, and what the gateway answers comes back as it is: nothing is parsed, decided or kept here.
"""
