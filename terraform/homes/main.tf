# A home disk outlives its machine, and its workspace's place in fleet.toml: what exists stays, and goes only when xtask
# deletes the disk itself, which it does not do without being told the name twice. A plan that would delete or replace
# one is an error.

module "machine_type" {
  source = "../modules/machine-type"

  machine_types = toset([for workspace in values(var.fleet.workspaces) : workspace.machine_type])
}

locals {
  wanted = {
    for name, workspace in var.fleet.workspaces : name => {
      zone    = lookup(var.placement, name, var.fleet.google.zones[0])
      size_gb = workspace.home_disk_gb
      type    = module.machine_type.disk_types[workspace.machine_type]
      owner   = workspace.owner
    }
  }

  homes = {
    for name in setunion(keys(local.wanted), keys(var.existing_homes)) : name => {
      # A disk does not move, shrink or change its type.
      zone    = try(var.existing_homes[name].zone, local.wanted[name].zone)
      size_gb = max(try(var.existing_homes[name].size_gb, 0), try(local.wanted[name].size_gb, 0))
      type    = try(var.existing_homes[name].type, local.wanted[name].type)
      owner   = try(local.wanted[name].owner, var.existing_homes[name].owner)
      retired = !contains(keys(local.wanted), name)
    }
  }
}

resource "google_compute_disk" "homes" {
  # checkov:skip=CKV_GCP_37: Google encrypts every disk at rest; a key of one's own is for a fork that has a KMS.
  for_each = local.homes

  name = "home-${each.key}"
  zone = each.value.zone
  size = each.value.size_gb
  type = each.value.type

  labels = {
    workspace = each.key
    owner     = substr(replace(each.value.owner, "/[^a-z0-9_-]/", "_"), 0, 63)
    retired   = tostring(each.value.retired)
  }

  # prevent_destroy goes when the resource is taken out of the code; this stays in the state.
  deletion_policy = "PREVENT"

  lifecycle {
    prevent_destroy = true
    # A home that was moved to another zone was made of a snapshot.
    ignore_changes = [snapshot]
  }
}

# A warning, not an error: a home may be handed over on purpose.
check "homes_keep_their_owners" {
  assert {
    condition     = alltrue([for name, home in local.homes : try(var.existing_homes[name].owner, home.owner) == home.owner])
    error_message = "These homes hold another owner's files: ${join(", ", [for name, home in local.homes : "${name} (${var.existing_homes[name].owner}, from now on ${home.owner})" if try(var.existing_homes[name].owner, home.owner) != home.owner])}."
  }
}

resource "google_compute_resource_policy" "snapshots" {
  name        = "workspace-homes"
  region      = var.fleet.google.region
  description = "A snapshot of each home disk a day, the last two weeks kept."

  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "03:00" # UTC; Google begins within the hour
      }
    }

    retention_policy {
      max_retention_days    = 14
      on_source_disk_delete = "KEEP_AUTO_SNAPSHOTS"
    }

    snapshot_properties {
      storage_locations = [var.fleet.google.region]
      labels = {
        managed-by = "workspaces"
      }
    }
  }
}

resource "google_compute_disk_resource_policy_attachment" "snapshots" {
  for_each = google_compute_disk.homes

  name = google_compute_resource_policy.snapshots.name
  disk = each.value.name
  zone = each.value.zone
}
