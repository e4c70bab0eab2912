import os
import subprocess
import tempfile


def make_disk(qemu_img, image, gib):
    """A disk of so many GiB that begins with an image. The test's machine starts from it while the result is held."""
    disk = tempfile.NamedTemporaryFile(suffix=".qcow2")
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, disk.name, f"{gib}G"], check=True)
    os.environ["NIX_DISK_IMAGE"] = disk.name
    return disk


