"""The data of a server that was killed, or stopped: built once, copied for every damage.

What must hold: the image has something of everything that can be damaged: closed segments, a write-ahead log that is
ahead of its checkpoint, checkpoints of views, a lake with a batch, a speed layer, events, a group's offset.
"""

import pathlib
import shutil
import time

import scene
from server import Server

# Small files, so that few records fill several; short waits, so that what cannot be answered is refused soon.
SETTINGS = {
    "FOURFOLD_LOG_SEGMENT_BYTES": "32768",
    "FOURFOLD_LOG_WAL_FILE_BYTES": "65536",
    "FOURFOLD_LOG_CHECKPOINT_WAL_BYTES": "131072",
    "FOURFOLD_LOG_INDEX_INTERVAL_BYTES": "1024",
    "FOURFOLD_SQL_MIN_POSITION_TIMEOUT_MS": "3000",
    "FOURFOLD_HTTP_WAIT_TIMEOUT_MS": "3000",
    "FOURFOLD_LAKE_COMMIT_INTERVAL_MS": "200",
    "FOURFOLD_VIEWS_CHECKPOINT_INTERVAL_MS": "200",
}


def build(folder, ends=Server.kill, settled_s=1.5):
    """Makes the image below `folder`, of a server that was killed or stopped, and returns its data folder."""
    server = Server(folder, SETTINGS)
    scene.build(server)
    # Until checkpoints and captures have what was written.
    time.sleep(settled_s)
    ends(server)
    return server.data


def copy(data, folder):
    """A copy of the data in a folder of its own."""
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(data, folder / "data")
    return folder / "data"
