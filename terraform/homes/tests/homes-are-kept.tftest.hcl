# What becomes of home disks when the fleet changes. That a plan which would delete one is refused is shown against a
# state by the lane `terraform` of `cargo xtask test`: such an error ends a test instead of passing it.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4", zones = ["europe-west4-a", "europe-west4-b"] }
    workspaces = {
      alice = { owner = "alice@acme.example", machine_type = "n2-standard-8", home_disk_gb = 100 }
    }
  }
  existing_homes = {}
}

run "a_workspace_gets_a_home_in_the_first_zone" {
  command = plan

  assert {
    condition     = { for name, disk in google_compute_disk.homes : name => [disk.name, disk.zone, disk.size, disk.type] } == { alice = ["home-alice", "europe-west4-a", 100, "pd-balanced"] }
    error_message = "alice's home is not what the fleet says"
  }
}

run "placement_says_where_a_new_home_is" {
  command = plan

  variables {
    placement = { alice = "europe-west4-b" }
  }

  assert {
    condition     = google_compute_disk.homes["alice"].zone == "europe-west4-b"
    error_message = "the home is not where placement says"
  }
}

run "a_workspace_that_leaves_the_fleet_keeps_its_home" {
  command = plan

  variables {
    existing_homes = {
      bob = { zone = "europe-west4-b", size_gb = 300, type = "pd-balanced", owner = "bob@acme.example" }
    }
  }

  assert {
    condition     = [for disk in [google_compute_disk.homes["bob"]] : [disk.name, disk.zone, disk.size, disk.type]][0] == ["home-bob", "europe-west4-b", 300, "pd-balanced"]
    error_message = "the home of a retired workspace is not kept as it is"
  }

  assert {
    condition     = { for name, disk in google_compute_disk.homes : name => disk.labels.retired } == { alice = "false", bob = "true" }
    error_message = "the label does not tell who is retired"
  }

  assert {
    condition     = contains(keys(google_compute_disk_resource_policy_attachment.snapshots), "bob")
    error_message = "the home of a retired workspace has no snapshots any more"
  }
}

run "a_home_neither_moves_nor_shrinks_nor_changes_its_type" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4", zones = ["europe-west4-a"] }
      workspaces = {
        alice = { owner = "alice@acme.example", machine_type = "n4-standard-8", home_disk_gb = 100 }
      }
    }
    existing_homes = {
      alice = { zone = "europe-west4-c", size_gb = 200, type = "pd-balanced", owner = "alice@acme.example" }
    }
    placement = { alice = "europe-west4-a" }
  }

  assert {
    condition     = [for disk in [google_compute_disk.homes["alice"]] : [disk.zone, disk.size, disk.type]][0] == ["europe-west4-c", 200, "pd-balanced"]
    error_message = "a home would be replaced"
  }
}

run "a_home_grows" {
  command = plan

  variables {
    existing_homes = {
      alice = { zone = "europe-west4-a", size_gb = 50, type = "pd-balanced", owner = "alice@acme.example" }
    }
  }

  assert {
    condition     = google_compute_disk.homes["alice"].size == 100
    error_message = "a home does not get the size that the fleet says"
  }
}

run "another_owner_of_the_same_home_is_warned_of" {
  command = plan

  variables {
    existing_homes = {
      alice = { zone = "europe-west4-a", size_gb = 100, type = "pd-balanced", owner = "old-alice@acme.example" }
    }
  }

  expect_failures = [check.homes_keep_their_owners]
}

run "a_zone_outside_the_fleets_is_refused" {
  command = plan

  variables {
    placement = { alice = "us-central1-a" }
  }

  expect_failures = [var.placement]
}
