# A private fleet.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "private" }
    workspaces = {
      alice = {
        owner        = "alice@acme.example"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
    }
  }
  images = { alice = "projects/acme-data-science/global/images/base-1" }
  homes = {
    alice = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-alice", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

run "a_private_machine_has_no_public_address" {
  command = plan

  assert {
    condition     = alltrue(flatten([for machine in google_compute_instance.workspaces : [for nic in machine.network_interface : length(nic.access_config) == 0 && length(nic.ipv6_access_config) == 0]]))
    error_message = "a private machine has a public address"
  }

  assert {
    condition     = length(google_compute_address.workspaces) == 0
    error_message = "an address is paid for that no machine has"
  }
}

run "a_private_machine_has_no_public_name" {
  command = plan

  assert {
    condition     = length(google_endpoints_service.workspaces) == 0
    error_message = "a private machine has a name in the DNS"
  }
}

run "a_private_machine_has_no_login_and_no_secret" {
  command = plan

  assert {
    condition     = length(google_secret_manager_secret.logins) + length(google_secret_manager_secret_iam_member.logins) == 0
    error_message = "there is a secret that nothing reads"
  }
}

run "the_firewall_knows_the_machine_as_private" {
  command = plan

  assert {
    condition     = google_compute_instance.workspaces["alice"].tags == toset(["workspace", "workspace-private"])
    error_message = "the tags are not those of a private workspace"
  }
}

run "a_login_of_a_private_fleet_is_refused" {
  command = plan

  variables {
    fleet = {
      google     = { project = "acme-data-science", region = "europe-west4" }
      access     = { exposure = "private", login = "password" }
      workspaces = {}
    }
  }

  expect_failures = [var.fleet]
}
