# Spot machines, which Google may take back at any time.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "private" }
    workspaces = {
      plain = {
        owner        = "alice@acme.example"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
      spot = {
        owner        = "alice@acme.example"
        image        = "base"
        machine_type = "n2-standard-8"
        spot         = true
        boot_disk_gb = 50
      }
      spot-gpu = {
        owner        = "alice@acme.example"
        image        = "cuda"
        machine_type = "g2-standard-16"
        spot         = true
        boot_disk_gb = 50
      }
    }
  }
  images = { for name in ["plain", "spot", "spot-gpu"] : name => "projects/acme-data-science/global/images/base-1" }
  homes = {
    for name in ["plain", "spot", "spot-gpu"] :
    name => { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-${name}", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

run "a_spot_machine_is_spot_and_others_are_not" {
  command = plan

  assert {
    condition = {
      for name, machine in google_compute_instance.workspaces :
      name => "${machine.scheduling[0].provisioning_model} ${machine.scheduling[0].preemptible}"
    } == { plain = "STANDARD false", spot = "SPOT true", spot-gpu = "SPOT true" }
    error_message = "a machine is paid for in full, or one may be taken back that must not be"
  }
}

run "a_spot_machine_is_neither_moved_nor_started_by_google" {
  command = plan

  # Google refuses both of a Spot machine.
  assert {
    condition = {
      for name, machine in google_compute_instance.workspaces :
      name => "${machine.scheduling[0].on_host_maintenance} ${machine.scheduling[0].automatic_restart}"
    } == { plain = "MIGRATE true", spot = "TERMINATE false", spot-gpu = "TERMINATE false" }
    error_message = "Google would refuse a Spot machine, or not restart another after a failure of its host"
  }
}

run "a_spot_machine_that_is_taken_back_is_stopped_and_not_deleted" {
  command = plan

  assert {
    condition = {
      for name, machine in google_compute_instance.workspaces :
      name => machine.scheduling[0].instance_termination_action == null ? "-" : machine.scheduling[0].instance_termination_action
    } == { plain = "-", spot = "STOP", spot-gpu = "STOP" }
    error_message = "the boot disk would go with the machine"
  }
}
