# Types of disks, snapshots, labels.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4", zones = ["europe-west4-a"] }
    workspaces = {
      n2  = { owner = "a.b+c@acme.example", machine_type = "n2-standard-8", home_disk_gb = 100 }
      g2  = { owner = "alice@acme.example", machine_type = "g2-standard-16", home_disk_gb = 100 }
      n4  = { owner = "alice@acme.example", machine_type = "n4-standard-8", home_disk_gb = 100 }
      c4  = { owner = "alice@acme.example", machine_type = "c4-standard-8", home_disk_gb = 100 }
      a3u = { owner = "alice@acme.example", machine_type = "a3-ultragpu-8g", home_disk_gb = 100 }
      a3h = { owner = "alice@acme.example", machine_type = "a3-highgpu-8g", home_disk_gb = 100 }
    }
  }
  existing_homes = {}
}

run "a_home_is_of_a_type_that_its_machine_takes" {
  command = plan

  assert {
    condition = { for name, disk in google_compute_disk.homes : name => disk.type } == {
      n2  = "pd-balanced"
      g2  = "pd-balanced"
      a3h = "pd-balanced"
      n4  = "hyperdisk-balanced"
      c4  = "hyperdisk-balanced"
      a3u = "hyperdisk-balanced"
    }
    error_message = "a disk could not be attached to its machine"
  }
}

run "every_home_is_snapshotted_daily_and_for_two_weeks" {
  command = plan

  assert {
    condition     = toset([for attachment in google_compute_disk_resource_policy_attachment.snapshots : attachment.disk]) == toset([for disk in google_compute_disk.homes : disk.name])
    error_message = "a home has no snapshots"
  }

  assert {
    condition = (
      google_compute_resource_policy.snapshots.snapshot_schedule_policy[0].schedule[0].daily_schedule[0].days_in_cycle == 1 &&
      google_compute_resource_policy.snapshots.snapshot_schedule_policy[0].retention_policy[0].max_retention_days == 14 &&
      google_compute_resource_policy.snapshots.snapshot_schedule_policy[0].retention_policy[0].on_source_disk_delete == "KEEP_AUTO_SNAPSHOTS"
    )
    error_message = "snapshots are not daily, or not kept for 14 days, or go with the disk"
  }
}

run "an_owners_address_is_made_a_label" {
  command = plan

  assert {
    condition     = google_compute_disk.homes["n2"].labels == tomap({ workspace = "n2", owner = "a_b_c_acme_example", retired = "false" })
    error_message = "the labels are not those that are documented, or Google would refuse them"
  }
}
