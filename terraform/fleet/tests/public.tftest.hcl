# A public fleet.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public", login = "password" }
    workspaces = {
      alice = {
        owner        = "alice@acme.example"
        domain       = "alice.endpoints.acme-data-science.cloud.goog"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
    }
  }
  images = { alice = "projects/acme-data-science/global/images/base-1" }
  homes = {
    alice = { id = "projects/acme-data-science/zones/europe-west4-b/disks/home-alice", zone = "europe-west4-b", type = "pd-balanced" }
    bob   = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-bob", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

run "a_workspace_has_its_own_address_and_name" {
  assert {
    condition     = google_compute_instance.workspaces["alice"].network_interface[0].access_config[0].nat_ip == google_compute_address.workspaces["alice"].address
    error_message = "the machine does not have its static address"
  }

  assert {
    condition     = google_endpoints_service.workspaces["alice"].service_name == "alice.endpoints.acme-data-science.cloud.goog"
    error_message = "the name is another"
  }

  assert {
    condition     = yamldecode(google_endpoints_service.workspaces["alice"].openapi_config)["x-google-endpoints"][0].target == google_compute_address.workspaces["alice"].address
    error_message = "the name does not lead to the address"
  }
}

run "a_name_is_abandoned_and_not_deleted" {
  command = plan

  assert {
    condition     = alltrue([for name in google_endpoints_service.workspaces : name.deletion_policy == "ABANDON"])
    error_message = "a deleted name could not be made again for 30 days"
  }
}

run "the_firewall_knows_the_machine_as_public" {
  command = plan

  assert {
    condition     = google_compute_instance.workspaces["alice"].tags == toset(["workspace", "workspace-public"])
    error_message = "the tags are not those of a public workspace"
  }
}

run "a_retired_home_gets_no_machine" {
  command = plan

  assert {
    condition     = keys(google_compute_instance.workspaces) == ["alice"]
    error_message = "there is a machine that the fleet does not name"
  }
}

run "a_machine_is_where_its_home_is_and_has_it_attached" {
  command = plan

  assert {
    condition     = google_compute_instance.workspaces["alice"].zone == "europe-west4-b"
    error_message = "the machine is in another zone than its home"
  }

  assert {
    condition = { for disk in google_compute_instance.workspaces["alice"].attached_disk : disk.device_name => disk.source } == {
      home = "projects/acme-data-science/zones/europe-west4-b/disks/home-alice"
    }
    error_message = "the home is not attached as home"
  }
}

run "a_home_that_the_machine_does_not_take_is_refused" {
  command = plan

  variables {
    homes = {
      alice = { id = "projects/acme-data-science/zones/europe-west4-b/disks/home-alice", zone = "europe-west4-b", type = "hyperdisk-balanced" }
    }
  }

  expect_failures = [google_compute_instance.workspaces]
}
