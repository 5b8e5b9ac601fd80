"""Runs a command in a pseudo-terminal of 24 rows and 80 columns.

terminal.py ROWS COLUMNS LINE COMMAND...: once the command has printed a line, resizes the terminal and types LINE.
"""

import fcntl
import os
import pty
import struct
import sys
import termios


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


rows, columns, line, *command = sys.argv[1:]
# The size is set before the command starts, or else it could read the terminal's first size as 0 by 0.
ready, go = os.pipe()
child, terminal = pty.fork()
if child == 0:
    os.read(ready, 1)
    os.execvp(command[0], command)
resize(terminal, 24, 80)
os.write(go, b"x")

text = b""
typed = False
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:  # the other side is closed
        break
    text += data
    if b"\n" in text and not typed:
        typed = True
        resize(terminal, int(rows), int(columns))
        os.write(terminal, line.encode() + b"\r")
    if not data:
        break
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(text)
sys.exit(os.waitstatus_to_exitcode(status))
