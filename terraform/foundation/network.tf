# A network of its own: the project's default one has rules that admit SSH and RDP from everywhere.

locals {
  # A machine has the first, and one of the other two.
  network_tags = {
    workspace = "workspace"
    public    = "workspace-public"
    private   = "workspace-private"
  }

  # https://cloud.google.com/iap/docs/using-tcp-forwarding
  iap_range = "35.235.240.0/20"

  # Everything that is let in. What is not listed is refused: Compute Engine's networks deny by default, and the machines'
  # own firewalls do so again.
  rules = merge(
    {
      iap-ssh = {
        description = "SSH, through IAP only: IAM decides who gets in."
        source      = local.iap_range
        ports       = ["22"]
        tag         = local.network_tags.workspace
      }
    },
    var.fleet.access.exposure == "public" ? {
      public-https = {
        description = "The login page, and on port 80 the certificate authority's challenge and a redirect."
        source      = "0.0.0.0/0"
        ports       = ["80", "443"]
        tag         = local.network_tags.public
      }
      } : {
      iap-http = {
        description = "A private workspace's page, through IAP only: IAM decides who gets in."
        source      = local.iap_range
        ports       = ["80"]
        tag         = local.network_tags.private
      }
    },
  )
}

resource "google_compute_network" "workspaces" {
  name                    = "workspaces"
  auto_create_subnetworks = false
  # modules/gce sets the same on the machines.
  mtu          = 1460
  routing_mode = "REGIONAL"

  depends_on = [google_project_service.apis]
}

resource "google_compute_subnetwork" "workspaces" {
  # checkov:skip=CKV_GCP_76: The subnet has no IPv6 range, so there is no IPv6 to keep private.
  name                     = "workspaces"
  network                  = google_compute_network.workspaces.id
  region                   = local.region
  ip_cidr_range            = var.subnet_cidr
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "workspaces" {
  name    = "workspaces"
  network = google_compute_network.workspaces.id
  region  = local.region
}

# The way out for machines without a public address. It costs nothing while there is none.
resource "google_compute_router_nat" "workspaces" {
  name                               = "workspaces"
  router                             = google_compute_router.workspaces.name
  region                             = local.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  # 64 ports, the fixed share of a machine, are used up by one `docker pull` beside one `pip install`. Google gives the
  # dynamic share only without endpoint-independent mapping.
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 64
  max_ports_per_vm                    = 8192

  subnetwork {
    name                    = google_compute_subnetwork.workspaces.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

resource "google_compute_firewall" "workspaces" {
  # checkov:skip=CKV_GCP_106: Port 80 is open on public workspaces: the certificate authority's challenge comes there, and nginx redirects the rest.
  for_each = local.rules

  name          = "workspaces-${each.key}"
  description   = each.value.description
  network       = google_compute_network.workspaces.id
  direction     = "INGRESS"
  source_ranges = [each.value.source]
  target_tags   = [each.value.tag]

  allow {
    protocol = "tcp"
    ports    = each.value.ports
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
