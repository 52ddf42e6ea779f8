from __future__ import annotations

import pytest

from mqd.store.mounts import filesystem_type

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw shared:12 - proc proc rw
30 22 0:44 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 0:45 / /home/ada/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:46 / /scratch/a\\040b rw - lustre mds@tcp:/scratch rw
33 22 0:47 / /tmp rw - ext4 /dev/sdc1 rw
34 22 0:48 / /tmp rw - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/mqd", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/.mqd", "nfs4"),
        ("/home/ada/local/data", "xfs"),
        ("/homes", "ext4"),
        ("/scratch/a b/data", "lustre"),
        ("/tmp/data", "tmpfs"),
    ],
)
def test_the_longest_and_latest_mount_that_holds_it(directory, kind):
    assert filesystem_type(directory, MOUNTS) == kind


def test_what_cannot_be_told_is_empty():
    assert filesystem_type("/", "nonsense") == ""


def test_this_machine_is_asked(tmp_path):
    assert filesystem_type("/proc") == "proc"
    link = tmp_path / "link"
    link.symlink_to("/proc")
    assert filesystem_type(str(link)) == "proc"
