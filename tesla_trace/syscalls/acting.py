"""As whom, and where, the program's calls are done: with the caller's rights, in its namespace.

A handler is the code of whoever started us.  So it serves only processes that have no rights but
those that we have, or may take (TESLA, section 3.8: a set-uid program must not run what its user
brings along).  Root may take all: what root starts is served with the rights that it has.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakValueDictionary

from tesla_trace.kernel import namespaces
from tesla_trace.kernel.namespaces import Namespace
from tesla_trace.kernel.rights import CAP_SYS_ADMIN, Ids, Own, Rights
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import error
from tesla_trace.syscalls.escapes.ways import WAYS, Way

As = AbstractContextManager[object]

OURSELVES: As = nullcontext()


class Guise:
    """Rights, and a namespace; `with` it, we have these and are there."""

    def __init__(self, rights: As, namespace: Namespace | None) -> None:
        self.rights = rights
        self.namespace = namespace
        """None for ours."""
        self._place = OURSELVES if namespace is None else namespace

    def __enter__(self) -> None:
        """Take both on."""
        self._place.__enter__()
        try:
            self.rights.__enter__()
        except BaseException:
            self._place.__exit__(None, None, None)
            raise

    def __exit__(self, *raised: object) -> None:
        """Come back."""
        self.rights.__exit__(None, None, None)
        self._place.__exit__(None, None, None)


class _Ours(Guise):
    """What nearly every thread has: so it is cheap."""

    def __enter__(self) -> None:
        """Nothing is to do."""

    def __exit__(self, *raised: object) -> None:
        """Likewise."""


OURS: Guise = _Ours(OURSELVES, None)


class Acting:
    """Finds out whose a call is."""

    def __init__(self) -> None:
        self._own = Own()
        me = os.getpid()
        self._user, self._network = (os.readlink(f"/proc/{me}/ns/{n}") for n in ("user", "net"))
        self._home = namespaces.of(me)
        weakref.finalize(self, os.close, self._home)
        self._owner = Namespace(os.dup(self._home), self._home).owner
        self.no_new_rights = not self._own.capabilities & CAP_SYS_ADMIN
        """Whether what runs under us gets no rights from its file: see `kernel.spawn.install`."""
        self._plain = self._own.ids, self._user, self._network
        self._rights: WeakValueDictionary[tuple[object, ...], Rights] = WeakValueDictionary()
        self._namespaces: WeakValueDictionary[str, Namespace] = WeakValueDictionary()

    def of(self, stop: Stop) -> Guise | Way:
        """What the caller's sockets are made with, or the way past the handlers that they are.

        Raises:
            OSError: EACCES, the caller keeps us from looking into it.
            Gone: there is no caller any more.
        """
        standing = stop.standing()
        if standing == self._plain:
            return OURS
        ids, user, network = standing
        if not self._ours_to_take(ids, user):
            return WAYS["set-uid"]
        if not network:
            raise error(errno.EACCES)
        place = None
        if network != self._network:
            place = self._namespace(stop, network)
            if place is None:
                return WAYS["closed namespace"]
        return Guise(self._assumed(stop, ids, user, place), place)

    def others(self, stop: Stop) -> bool:
        """Whether the caller has rights that we may not take."""
        ids, user, _ = stop.standing()
        return not self._ours_to_take(ids, user)

    def rights(self, stop: Stop, place: Namespace | None) -> As:
        """What the caller may do with a socket of that namespace.

        One whose rights are not ours to take does it with ours.
        """
        standing = stop.standing()
        if standing == self._plain and place is None:
            return OURSELVES
        ids, user, _ = standing
        return self._assumed(stop, ids, user, place) if self._own.may_be(ids) else OURSELVES

    def _ours_to_take(self, ids: Ids, user: str) -> bool:
        if user in (self._user, "") and ids.capabilities & ~self._own.capabilities:
            return False
        return self._own.may_be(ids)

    def _assumed(self, stop: Stop, ids: Ids, user: str, place: Namespace | None) -> As:
        count = user in (self._user, self._owner if place is None else place.owner)
        capabilities = ids.capabilities & self._own.capabilities if count else 0
        if (ids.uid, ids.gid, capabilities) == self._own.ids:
            return OURSELVES
        key = ids.uid, ids.gid, stop.groups(), capabilities
        found = self._rights.get(key)
        if found is None:
            found = self._rights[key] = Rights(self._own, *key)
        return found

    def _namespace(self, stop: Stop, name: str) -> Namespace | None:
        found = self._namespaces.get(name)
        if found is None:
            found = Namespace(stop.network(), self._home)
            try:
                with found:
                    pass
            except OSError:  # EPERM: it takes CAP_SYS_ADMIN
                return None
            self._namespaces[name] = found
        return found
