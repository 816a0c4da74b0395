"""Our processes, and how programs come under them.

The front is what the shell started, the keeper (`successor`) answers when the supervisor has died,
and the supervisor serves the calls.  Its program is launched, attached to, in a container that a
runtime tells of, or started by one of us inside another.
"""
