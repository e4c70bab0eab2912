variable "fleet" {
  type = object({
    google = object({
      project = string
      region  = string
    })
    access = object({
      exposure = string
      login    = optional(string)
    })
    workspaces = map(object({
      owner        = string
      domain       = optional(string)
      image        = string
      machine_type = string
      gpu = optional(object({
        type  = string
        count = number
      }))
      spot              = optional(bool, false)
      boot_disk_gb      = number
      scale_out_project = optional(string)
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
    condition = (
      var.fleet.access.exposure == "public" && try(contains(["password", "google"], var.fleet.access.login), false) ||
      var.fleet.access.exposure == "private" && var.fleet.access.login == null
    )
    error_message = "fleet.access must be exposure public with login password or google, or exposure private without login."
  }

  validation {
    condition     = alltrue([for name in keys(var.fleet.workspaces) : can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", name))])
    error_message = "A workspace's name is 1 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }

  # It becomes part of IAM members.
  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : can(regex("^[a-z0-9._+-]+@[a-z0-9.-]+$", workspace.owner))])
    error_message = "A workspace's owner is a plain e-mail address in lower case."
  }

  validation {
    condition = alltrue([
      for name, workspace in var.fleet.workspaces :
      workspace.domain == (var.fleet.access.exposure == "public" ? "${name}.endpoints.${var.fleet.google.project}.cloud.goog" : null)
    ])
    error_message = "A public workspace's domain is NAME.endpoints.PROJECT.cloud.goog; a private one has none."
  }

  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : contains(["base", "cuda"], workspace.image)])
    error_message = "A workspace's image must be base or cuda."
  }

  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : workspace.gpu == null || (workspace.image == "cuda" && startswith(workspace.machine_type, "n1-"))])
    error_message = "gpu is for machine types of n1 with the image cuda; other machines with GPUs have theirs."
  }

  validation {
    condition     = alltrue([for workspace in values(var.fleet.workspaces) : workspace.boot_disk_gb >= 20 && workspace.boot_disk_gb <= 2048])
    error_message = "boot_disk_gb must be 20 to 2048."
  }

  validation {
    condition = alltrue([
      for workspace in values(var.fleet.workspaces) :
      workspace.scale_out_project == null || can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", workspace.scale_out_project)) && workspace.scale_out_project != var.fleet.google.project
    ])
    error_message = "A workspace's scale_out_project is the id of another project than the fleet's, where it would be root on every workspace."
  }
}

variable "images" {
  type        = map(string)
  description = "The image that a new machine boots from, by workspace: `projects/P/global/images/NAME` or a self link. A machine that exists keeps its own."
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.fleet.workspaces), keys(var.images))) == 0
    error_message = "images must name an image for every workspace of the fleet."
  }

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("^(https://www\\.googleapis\\.com/compute/v1/)?projects/[a-z0-9:.-]+/global/images/[a-z]([-a-z0-9]*[a-z0-9])?$", image))])
    error_message = "An image is projects/PROJECT/global/images/NAME or its self link; not a family, which would be another image tomorrow."
  }
}

variable "systems" {
  type        = map(string)
  description = "The system that a new machine is to run, by workspace: a path of the Nix store that the bucket `cache` has. Without one it runs its image's. A machine that exists keeps its own."
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for system in values(var.systems) : can(regex("^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$", system))])
    error_message = "A system is a path of the Nix store, such as /nix/store/HASH-nixos-system-NAME."
  }
}

variable "homes" {
  type = map(object({
    id   = string
    zone = string
    type = string
  }))
  description = "The home disks by workspace: the output `homes` of the root `homes`. Those of retired workspaces are passed over."
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.fleet.workspaces), keys(var.homes))) == 0
    error_message = "homes must have a disk for every workspace of the fleet: apply the root homes first."
  }

  validation {
    condition     = alltrue([for home in values(var.homes) : can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", home.zone))])
    error_message = "A home's zone must be one such as europe-west4-a."
  }
}

variable "network" {
  type = object({
    subnetwork = string
    tags = object({
      workspace = string
      public    = string
      private   = string
    })
  })
  description = "The output `network` of the root `foundation`."
  nullable    = false

  validation {
    condition     = can(regex("projects/[^/]+/regions/[^/]+/subnetworks/[^/]+$", var.network.subnetwork))
    error_message = "network.subnetwork must be a self link of a subnetwork."
  }
}

variable "buckets" {
  type = object({
    cache = string
  })
  description = "The output `buckets` of the root `foundation`. The machines read `cache`."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.buckets.cache))
    error_message = "buckets.cache must be the name of a bucket."
  }
}

variable "stop_schedule" {
  type = object({
    cron      = string
    time_zone = string
  })
  description = "The output `stop_schedule` of the root `foundation`, which validates it. Null: never."
  default     = null
}
