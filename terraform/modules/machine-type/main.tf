locals {
  # Machine families, or what their types begin with, that take no Persistent Disk. All others take pd-balanced.
  # https://cloud.google.com/compute/docs/disks/hyperdisks#machine-type-support
  hyperdisk_only = ["a3-ultragpu", "a4", "a4x", "c4", "c4a", "c4d", "g4", "h4d", "m4", "n4", "n4a", "n4d", "x4"]

  # Machine types that cannot be moved to another host while they run: H4D, bare metal, and Z3 with more than 18 TiB of
  # local disk (smaller ones must be). Those with GPUs are told by their image. H3 is not among Google's exceptions.
  # https://cloud.google.com/compute/docs/instances/host-maintenance-overview
  stays_on_host = ["^h4d-", "-metal$", "^z3-highmem-(88|176)$", "^z3-highmem-88-highlssd$", "^z3-highmem-176-standardlssd$"]
}
