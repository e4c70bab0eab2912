# What the firewall lets in.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public" }
  }
  bucket_names = { state = "acme-state", images = "acme-images", cache = "acme-cache" }
}

run "the_internet_reaches_80_and_443_of_public_workspaces_only" {
  command = plan

  assert {
    condition = alltrue([
      for rule in google_compute_firewall.workspaces :
      length(setsubtract(flatten(rule.allow[*].ports), ["80", "443"])) == 0 && rule.target_tags == toset(["workspace-public"])
      if rule.source_ranges != toset(["35.235.240.0/20"])
    ])
    error_message = "a rule that is not for IAP alone opens another port than 80 and 443, or other machines than public ones"
  }

  assert {
    condition     = google_compute_firewall.workspaces["public-https"].source_ranges == toset(["0.0.0.0/0"])
    error_message = "public workspaces cannot be reached"
  }
}

run "the_internet_reaches_nothing_of_a_private_fleet" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "private" }
    }
  }

  assert {
    condition     = alltrue([for rule in google_compute_firewall.workspaces : rule.source_ranges == toset(["35.235.240.0/20"])])
    error_message = "a rule of a private fleet lets in somebody else than IAP"
  }

  assert {
    condition     = { for rule in google_compute_firewall.workspaces : one(rule.target_tags) => flatten(rule.allow[*].ports) } == { workspace = ["22"], workspace-private = ["80"] }
    error_message = "IAP reaches other ports than 22 of all machines and 80 of private ones"
  }
}

run "login_and_editor_have_no_port_in_any_rule" {
  command = plan

  assert {
    condition     = toset(flatten([for rule in google_compute_firewall.workspaces : rule.allow[*].ports])) == toset(["22", "80", "443"])
    error_message = "the ports in the rules are not exactly 22, 80 and 443"
  }

  assert {
    condition     = alltrue(flatten([for rule in google_compute_firewall.workspaces : [for allow in rule.allow : allow.protocol == "tcp" && length(allow.ports) > 0]]))
    error_message = "a rule opens every port, or another protocol than TCP"
  }
}

run "ssh_goes_through_iap_only" {
  command = plan

  assert {
    condition = alltrue([
      for rule in google_compute_firewall.workspaces : rule.source_ranges == toset(["35.235.240.0/20"])
      if contains(flatten(rule.allow[*].ports), "22")
    ])
    error_message = "port 22 is open to others than IAP"
  }
}
