"""Whether the store is as new as the kernel: an older one is never used.

A restored copy, or a store that lost its newest records, would undo later changes of gitvs, or
remove objects that are foreign now. So each write of the store raises a number, first in the store
and then outside it, beside the kernel (`Kernel.write_witness`). A store that is one ahead is valid:
the process died between the two writes. A store that is further ahead is valid too, because the
number never falls: only the last numbers could not be recorded beside the kernel.
"""

from __future__ import annotations

import logging

from gitvs.core.errors import StoreOutdated
from gitvs.ports import Ports

log = logging.getLogger(__name__)


def refuse_older_store(ports: Ports) -> None:
    """Check that nothing newer than the store was done here.

    Raises:
        StoreOutdated: it was. Nothing was written.
        KernelUnavailable, KernelUnreadable: that cannot be found out.
    """
    witness = ports.kernel.read_witness()
    number = ports.store.number  # read last: another process may write meanwhile
    if witness is not None and number < witness:
        raise StoreOutdated(number, witness)


def adopt_with_older_store(ports: Ports) -> None:
    """Continue with a store that is older than the kernel, as if the store were new.

    Its records of this incarnation are dropped. An open transaction in it is not undone and not
    finished. Only what the adopting pass takes over is owned.
    """
    witness = ports.kernel.read_witness()
    if witness is not None and ports.store.number < witness:
        ports.store.void(ports.kernel.incarnation(), witness)
        log.warning("older store taken over witness=%d number=%d", witness, ports.store.number)
