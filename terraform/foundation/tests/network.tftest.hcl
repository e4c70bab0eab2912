# The network that machines are put into.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "private" }
  }
  bucket_names = { state = "acme-state", images = "acme-images", cache = "acme-cache" }
}

run "the_one_subnet_reaches_google_privately_and_logs_its_flows" {
  command = plan

  assert {
    condition     = google_compute_network.workspaces.auto_create_subnetworks == false
    error_message = "the network makes subnets of its own in every region"
  }

  assert {
    condition     = google_compute_subnetwork.workspaces.private_ip_google_access
    error_message = "machines without a public address cannot reach Google's APIs"
  }

  assert {
    condition     = one(google_compute_subnetwork.workspaces.log_config[*].metadata) == "INCLUDE_ALL_METADATA"
    error_message = "flows are not logged"
  }
}

run "machines_without_a_public_address_get_out_by_nat" {
  command = plan

  assert {
    condition     = google_compute_router_nat.workspaces.nat_ip_allocate_option == "AUTO_ONLY" && length(google_compute_router_nat.workspaces.subnetwork) == 1
    error_message = "there is no NAT for the subnet"
  }
}

run "a_range_that_is_not_private_is_refused" {
  command = plan

  variables {
    subnet_cidr = "8.8.0.0/20"
  }

  expect_failures = [var.subnet_cidr]
}
