locals {
  # Machine families, or what their types begin with, that take no Persistent Disk. All others take pd-balanced.
  # https://cloud.google.com/compute/docs/disks/hyperdisks#machine-type-support
  hyperdisk_only = ["a3-ultragpu", "a4", "a4x", "c4", "c4a", "c4d", "g4", "h4d", "m4", "n4", "n4a", "n4d", "x4"]
}
