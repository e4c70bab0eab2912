# Names of up to 40 characters become ids of accounts, which have at most 30, and labels, which take no @.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "private" }
    workspaces = {
      a                                        = { owner = "a.b+c@acme.example", image = "base", machine_type = "n2-standard-8", boot_disk_gb = 50 }
      a-name-of-20-letters                     = { owner = "alice@acme.example", image = "base", machine_type = "n2-standard-8", boot_disk_gb = 50 }
      a-long-name-that-goes-on-to-40-letters-x = { owner = "alice@acme.example", image = "base", machine_type = "n2-standard-8", boot_disk_gb = 50 }
      a-long-name-that-goes-on-to-40-letters-y = { owner = "alice@acme.example", image = "base", machine_type = "n2-standard-8", boot_disk_gb = 50 }
    }
  }
  images = {
    a                                        = "projects/acme-data-science/global/images/base-1"
    a-name-of-20-letters                     = "projects/acme-data-science/global/images/base-1"
    a-long-name-that-goes-on-to-40-letters-x = "projects/acme-data-science/global/images/base-1"
    a-long-name-that-goes-on-to-40-letters-y = "projects/acme-data-science/global/images/base-1"
  }
  homes = {
    a                                        = { id = "a", zone = "europe-west4-a", type = "pd-balanced" }
    a-name-of-20-letters                     = { id = "b", zone = "europe-west4-a", type = "pd-balanced" }
    a-long-name-that-goes-on-to-40-letters-x = { id = "c", zone = "europe-west4-a", type = "pd-balanced" }
    a-long-name-that-goes-on-to-40-letters-y = { id = "d", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

run "every_name_makes_an_account_of_its_own" {
  command = plan

  assert {
    condition     = alltrue([for account in google_service_account.workspaces : can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", account.account_id))])
    error_message = "Google would refuse the id of an account"
  }

  assert {
    condition     = length(distinct([for account in google_service_account.workspaces : account.account_id])) == 4
    error_message = "two workspaces share an account"
  }

  assert {
    condition     = google_service_account.workspaces["a-name-of-20-letters"].account_id == "workspace-a-name-of-20-letters"
    error_message = "a short name is not kept as it is"
  }
}

run "an_owners_address_is_made_a_label" {
  command = plan

  assert {
    condition     = google_compute_instance.workspaces["a"].labels == tomap({ workspace = "a", owner = "a_b_c_acme_example" })
    error_message = "the labels are not those that are documented, or Google would refuse them"
  }
}
