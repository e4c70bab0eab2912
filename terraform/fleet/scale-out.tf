# Machines elsewhere: a workspace with a `scale_out_project` may make machines there, with SkyPilot, and nowhere else. It
# is another project than the fleet's because SkyPilot sets the metadata of machines, and who may do that is root on every
# machine of the project. docs/scale-out.md

locals {
  scale_out = {
    for name, workspace in local.workspaces : name => workspace.scale_out_project if workspace.scale_out_project != null
  }
  scale_out_projects = toset(values(local.scale_out))

  scale_out_apis = [
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
    "tpu.googleapis.com",
  ]

  # What SkyPilot asks for to make machines, TPUs and buckets. Without the firewall, and without roles: nothing that it
  # has can give it more. https://docs.skypilot.co/en/latest/cloud-setup/cloud-permissions/gcp.html
  scale_out_permissions = [
    "compute.disks.create",
    "compute.disks.list",
    "compute.firewalls.get",
    "compute.globalOperations.get",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.instances.start",
    "compute.instances.stop",
    "compute.networks.get",
    "compute.networks.getEffectiveFirewalls",
    "compute.networks.list",
    "compute.projects.get",
    "compute.subnetworks.list",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
    "iam.roles.get",
    "iam.serviceAccounts.get",
    "resourcemanager.projects.get",
    "resourcemanager.projects.getIamPolicy",
    "serviceusage.services.enable",
    "serviceusage.services.list",
    "serviceusage.services.use",
    "storage.buckets.create",
    "storage.buckets.delete",
    "storage.buckets.get",
    "storage.buckets.list",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.update",
    "tpu.nodes.create",
    "tpu.nodes.delete",
    "tpu.nodes.get",
    "tpu.nodes.list",
    "tpu.nodes.update",
    "tpu.operations.get",
  ]

  # Who acts there: the workspaces' own accounts, and that of the machines themselves, some of which make others.
  scale_out_members = merge(
    { for name, project in local.scale_out : "${project} ${name}" => { project = project, email = local.emails[name] } },
    {
      for project, account in google_service_account.scale_out : "${project} its machines" => {
        project = project
        email   = "${account.account_id}@${project}.iam.gserviceaccount.com"
      }
    },
  )

  # A machine's own address is where its connections come from. Those of private workspaces leave by the NAT, whose
  # addresses are Google's choice.
  scale_out_sources = {
    for project in local.scale_out_projects : project => [
      for name, address in google_compute_address.workspaces : "${address.address}/32" if try(local.scale_out[name], null) == project
    ] if local.is_public
  }
}

resource "google_project_service" "scale_out" {
  for_each = {
    for pair in setproduct(local.scale_out_projects, local.scale_out_apis) : "${pair[0]} ${pair[1]}" => { project = pair[0], service = pair[1] }
  }

  project            = each.value.project
  service            = each.value.service
  disable_on_destroy = false
}

resource "google_project_iam_custom_role" "scale_out" {
  for_each = local.scale_out_projects

  project     = each.key
  role_id     = "workspaceScaleOut"
  title       = "Machines for workspaces"
  description = "What SkyPilot needs to make machines, TPUs and buckets."
  permissions = local.scale_out_permissions

  depends_on = [google_project_service.scale_out]
}

resource "google_service_account" "scale_out" {
  for_each = local.scale_out_projects

  project = each.key
  # SkyPilot looks for this one, and would make it with wider roles.
  account_id   = "skypilot-v1"
  display_name = "Machines of workspaces"

  depends_on = [google_project_service.scale_out]
}

resource "google_project_iam_member" "scale_out" {
  for_each = local.scale_out_members

  project = each.value.project
  role    = "projects/${each.value.project}/roles/${google_project_iam_custom_role.scale_out[each.value.project].role_id}"
  member  = "serviceAccount:${each.value.email}"
}

# The one account that machines there may have.
resource "google_service_account_iam_member" "scale_out" {
  for_each = local.scale_out_members

  service_account_id = "projects/${each.value.project}/serviceAccounts/${local.scale_out_members["${each.value.project} its machines"].email}"
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${each.value.email}"
}

# With a subnet in each region, 10.128.0.0/9 in all: GPUs are where there are some.
resource "google_compute_network" "scale_out" {
  # checkov:skip=CKV2_GCP_18: It has firewall rules, below.
  for_each = local.scale_out_projects

  project                 = each.key
  name                    = "skypilot"
  auto_create_subnetworks = true

  depends_on = [google_project_service.scale_out]
}

resource "google_compute_firewall" "scale_out_inside" {
  for_each = local.scale_out_projects

  project       = each.key
  name          = "skypilot-inside"
  description   = "Machines of a job talk to each other."
  network       = google_compute_network.scale_out[each.key].id
  direction     = "INGRESS"
  source_ranges = ["10.128.0.0/9"]

  dynamic "allow" {
    for_each = ["tcp", "udp", "icmp"]

    content {
      protocol = allow.value
    }
  }
}

resource "google_compute_firewall" "scale_out_ssh" {
  for_each = local.scale_out_sources

  project       = each.key
  name          = "skypilot-ssh"
  description   = "SkyPilot on the workspaces that have this project."
  network       = google_compute_network.scale_out[each.key].id
  direction     = "INGRESS"
  source_ranges = each.value

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
