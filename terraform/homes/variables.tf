variable "fleet" {
  type = object({
    google = object({
      project = string
      region  = string
      zones   = list(string)
    })
    workspaces = map(object({
      owner        = string
      machine_type = string
      home_disk_gb = number
    }))
  })
  description = "The fleet, as `cargo xtask fleet --json` prints it. This root reads the attributes that are named here."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.fleet.google.project))
    error_message = "fleet.google.project must be the id of a project: 6 to 30 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.fleet.google.region))
    error_message = "fleet.google.region must be a region such as europe-west4."
  }

  validation {
    condition     = length(var.fleet.google.zones) > 0 && alltrue([for zone in var.fleet.google.zones : can(regex("^${var.fleet.google.region}-[a-z]$", zone))])
    error_message = "fleet.google.zones must be zones of fleet.google.region, at least one."
  }

  validation {
    condition     = alltrue([for name in keys(var.fleet.workspaces) : can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", name))])
    error_message = "A workspace's name is 1 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }

  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : can(regex("^[a-z0-9._+-]+@[a-z0-9.-]+$", workspace.owner))])
    error_message = "A workspace's owner is a plain e-mail address in lower case."
  }

  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : workspace.home_disk_gb >= 10 && workspace.home_disk_gb <= 65536])
    error_message = "home_disk_gb must be 10 to 65536."
  }
}

variable "existing_homes" {
  type = map(object({
    zone    = string
    size_gb = number
    type    = string
    owner   = string
  }))
  description = <<-EOT
    The home disks that there are: this root's own output `homes`, {} before the first apply. A disk in here is kept as it
    is, whether its workspace is still in the fleet or not. Without a default, so that nobody forgets it.
  EOT
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.existing_homes) : can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", name))])
    error_message = "A home is named after its workspace: 1 to 40 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for home in values(var.existing_homes) : can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", home.zone))])
    error_message = "A home's zone must be one such as europe-west4-a."
  }

  validation {
    condition     = alltrue([for home in values(var.existing_homes) : contains(["pd-balanced", "hyperdisk-balanced"], home.type)])
    error_message = "A home's type must be pd-balanced or hyperdisk-balanced."
  }

  validation {
    condition     = alltrue([for home in values(var.existing_homes) : home.size_gb >= 10 && home.size_gb <= 65536])
    error_message = "A home's size_gb must be 10 to 65536."
  }
}

variable "placement" {
  type        = map(string)
  description = "Zones of new homes by workspace, where it is not to be the fleet's first zone. A home that exists stays where it is."
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for zone in values(var.placement) : contains(var.fleet.google.zones, zone)])
    error_message = "placement may name zones of fleet.google.zones only."
  }

  validation {
    condition     = alltrue([for name in keys(var.placement) : contains(keys(var.fleet.workspaces), name)])
    error_message = "placement may name workspaces of the fleet only."
  }
}
