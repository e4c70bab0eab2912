module "machine_type" {
  source = "../modules/machine-type"

  machine_types = toset([for workspace in values(var.fleet.workspaces) : workspace.machine_type])
}

locals {
  project    = var.fleet.google.project
  workspaces = var.fleet.workspaces
  is_public  = var.fleet.access.exposure == "public"
  public     = local.is_public ? local.workspaces : {}

  tags = [var.network.tags.workspace, local.is_public ? var.network.tags.public : var.network.tags.private]

  # Labels take no @ and no dot.
  labels = {
    for name, workspace in local.workspaces : name => {
      workspace = name
      owner     = substr(replace(workspace.owner, "/[^a-z0-9_-]/", "_"), 0, 63)
    }
  }
}

resource "google_compute_instance" "workspaces" {
  # checkov:skip=CKV_GCP_38: Google encrypts every disk at rest; a key of one's own is for a fork that has a KMS.
  # checkov:skip=CKV_GCP_39: vTPM and integrity monitoring are on; secure boot is off because the image is not signed.
  # checkov:skip=CKV_GCP_40: A public workspace has a public address by its definition; a private one has none.
  for_each = local.workspaces

  name         = each.key
  zone         = var.homes[each.key].zone
  machine_type = each.value.machine_type
  tags         = local.tags
  labels       = local.labels[each.key]

  # A machine type changes by stopping, not by making another machine.
  allow_stopping_for_update = true
  # The machine is replaced at will; the home disk is what is protected.
  deletion_protection = false
  resource_policies   = google_compute_resource_policy.stop[*].id

  boot_disk {
    auto_delete = true
    device_name = "boot"

    initialize_params {
      image = var.images[each.key]
      size  = each.value.boot_disk_gb
      type  = module.machine_type.disk_types[each.value.machine_type]
      # Another label would be another machine, so not the owner, who may change.
      labels = { workspace = each.key }
    }
  }

  attached_disk {
    source = var.homes[each.key].id
    # /dev/disk/by-id/google-home on the machine.
    device_name = "home"
    mode        = "READ_WRITE"
  }

  network_interface {
    subnetwork = var.network.subnetwork
    nic_type   = "GVNIC"

    dynamic "access_config" {
      for_each = local.is_public ? [google_compute_address.workspaces[each.key].address] : []

      content {
        nat_ip       = access_config.value
        network_tier = "PREMIUM"
      }
    }
  }

  dynamic "guest_accelerator" {
    for_each = each.value.gpu[*]

    content {
      type  = guest_accelerator.value.type
      count = guest_accelerator.value.count
    }
  }

  scheduling {
    # A machine has a GPU if and only if its image is cuda, and one with a GPU cannot be moved while it runs; nor a Spot one.
    on_host_maintenance = each.value.spot || each.value.image == "cuda" || module.machine_type.stays_on_host[each.value.machine_type] ? "TERMINATE" : "MIGRATE"

    # What Google took back stays off until somebody starts it: there may be no room for it yet.
    automatic_restart  = !each.value.spot
    preemptible        = each.value.spot
    provisioning_model = each.value.spot ? "SPOT" : "STANDARD"
    # Not DELETE, with which the boot disk would go. Unset, it would be a change in each plan.
    instance_termination_action = each.value.spot ? "STOP" : null
  }

  shielded_instance_config {
    enable_secure_boot          = false
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  service_account {
    email = local.emails[each.key]
    # What the machine may do is IAM's to say; scopes are the older way.
    scopes = ["cloud-platform"]
  }

  metadata = merge(
    {
      block-project-ssh-keys  = "TRUE"
      enable-guest-attributes = "TRUE"
      enable-oslogin          = "TRUE"
      serial-port-enable      = "FALSE"
    },
    # Said when it is made, so that its first boot fetches it. From then on it is not terraform's.
    { for system in [lookup(var.systems, each.key, null)] : "workspace-system" => system if system != null },
  )

  lifecycle {
    ignore_changes = [
      # The closure that the machine should run, the one to go back to, and those before: `cargo xtask deploy` writes them.
      metadata["workspace-system"],
      metadata["workspace-system-previous"],
      metadata["workspace-system-log"],
      # A new image is for new machines; those that run pull their system.
      boot_disk[0].initialize_params[0].image,
    ]

    precondition {
      condition     = module.machine_type.disk_types[each.value.machine_type] == var.homes[each.key].type
      error_message = "The home disk of ${each.key} is of type ${var.homes[each.key].type}, which ${each.value.machine_type} is not given here. Choose a machine type for that disk, or move the home to a new disk from a snapshot (docs/terraform.md)."
    }
  }
}
