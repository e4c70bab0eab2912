# A static address and a DNS name for each public workspace; none for private ones.

resource "google_compute_address" "workspaces" {
  for_each = local.public

  name         = "workspace-${each.key}"
  region       = var.fleet.google.region
  address_type = "EXTERNAL"
  network_tier = "PREMIUM"
  labels       = local.labels[each.key]

  lifecycle {
    # When a fleet turns private, its machines give up their addresses first.
    create_before_destroy = true
  }
}

resource "google_endpoints_service" "workspaces" {
  for_each = local.public

  service_name = each.value.domain
  # A deleted name is held for 30 days, in which nobody could make the workspace again. Making one adopts what is there.
  deletion_policy = "ABANDON"

  # JSON is YAML.
  openapi_config = jsonencode({
    swagger = "2.0"
    info    = { title = each.key, version = "1" }
    host    = each.value.domain
    paths   = {}
    "x-google-endpoints" = [{
      name   = each.value.domain
      target = google_compute_address.workspaces[each.key].address
    }]
  })
}
