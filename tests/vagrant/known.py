"""The names that a Vagrantfile and a Lima template may use, taken from the sources that each list names.

`vagrant validate --ignore-provider` looks into no provider's block, and no Lima is here to read its template.
A name that is missing here is added after a look at the source, never because a test wants it.
"""

from __future__ import annotations

# What can be set in `config.vm.provider NAME`, by assignment or by a call.
PROVIDERS: dict[str, set[str]] = {
    # Vagrant 2.3.4, plugins/providers/virtualbox/config.rb
    "virtualbox": set(
        "auto_nat_dns_proxy check_guest_additions cpus customize default_nic_type "
        "destroy_unused_network_interfaces functional_vboxsf gui linked_clone linked_clone_snapshot memory "
        "name network_adapter".split()
    ),
    # Vagrant 2.3.4, plugins/providers/hyperv/config.rb
    "hyperv": set(
        "auto_start_action auto_stop_action cpus enable_automatic_checkpoints enable_checkpoints "
        "enable_enhanced_session_mode enable_virtualization_extensions ip_address_timeout linked_clone mac "
        "maxmemory memory vlan_id vm_integration_services vmname".split()
    ),
    # vagrant-libvirt 0.11.2, lib/vagrant-libvirt/config.rb: without the many options for hardware
    "libvirt": set(
        "autostart boot cpu_fallback cpu_feature cpu_mode cpu_model cpus cpuset cputopology default_prefix "
        "description disk_bus disk_driver driver forward_ssh_port graphics_type host loader machine_arch "
        "machine_type machine_virtual_size management_network_address management_network_name "
        "memballoon_enabled memory memorybacking mgmt_attach nested nic_model_type nvram qemu_use_agent "
        "qemu_use_session qemuargs random random_hostname serial snapshot_pool_name socket storage "
        "storage_pool_name suspend_mode title uri username uuid video_type video_vram volume_cache".split()
    ),
    # vagrant-parallels 2.4, lib/vagrant-parallels/config.rb
    "parallels": set(
        "check_guest_tools cpus customize destroy_unused_network_interfaces functional_psf linked_clone "
        "linked_clone_snapshot memory name network_adapter regen_src_uuid update_guest_tools".split()
    ),
    # vagrant-vmware-desktop 3.0.3, lib/vagrant-vmware-desktop/config.rb
    "vmware_desktop": set(
        "allowlist_verified base_address base_mac clone_directory cpus enable_vmrun_ip_lookup "
        "force_vmware_license functional_hgfs gui linked_clone memory nat_device network_adapter "
        "port_forward_network_pause shared_folder_special_char ssh_info_public unmount_default_hgfs "
        "utility_certificate_path utility_host utility_port verify_vmnet vmx".split()
    ),
}

# Vagrant's documentation, "Private Networks" and "Configuration" of each provider.
PRIVATE_NETWORK = {"auto_config", "bridge", "hostname", "ip", "netmask", "type"}
# Vagrant's documentation, "Basic Usage" and "RSync" of Synced Folders.
SYNCED_FOLDER = set(
    "create disabled group id mount_options owner type rsync__args rsync__auto rsync__chown rsync__exclude "
    "rsync__rsync_ownership rsync__rsync_path rsync__verbose".split()
)
# Vagrant 2.3.4, plugins/provisioners/shell/config.rb, and those of every provisioner.
SHELL = set(
    "args binary env inline keep_color md5 name path privileged reboot reset sensitive sha1 sha256 sha384 "
    "sha512 upload_path after before preserve_order run type".split()
)
# Boxes whose makers publish them for these architectures: bento's recipes of June 2026, roboxes' notes.
BOXES: dict[str, set[str]] = {
    "bento/debian-13": {"amd64", "arm64"},
    "bento/debian-12": {"amd64", "arm64"},
    "bento/ubuntu-24.04": {"amd64", "arm64"},
    "generic/debian12": {"amd64"},
}

# Lima 1.0, pkg/limayaml/limayaml.go (what each means: templates/default.yaml). None: a plain value, {}: any.
Shape = dict[str, "Shape"] | list["Shape"] | None
LIMA: dict[str, Shape] = {
    **dict.fromkeys(
        "arch cpus disk guestInstallPrefix memory message minimumLimaVersion mountInotify".split()
    ),
    **dict.fromkeys("mountType os plain propagateProxyEnv timezone upgradePackages vmType".split()),
    "additionalDisks": [dict.fromkeys("format fsArgs fsType name".split())],
    "audio": {"device": None},
    "caCerts": {"certs": [None], "files": [None], "removeDefaults": None},
    "containerd": {"archives": [{}], "system": None, "user": None},
    "copyToHost": [dict.fromkeys("deleteOnStop guest host".split())],
    "cpuType": {},
    "dns": [None],
    "env": {},
    "firmware": {"images": [{}], "legacyBIOS": None},
    "hostResolver": {"enabled": None, "hosts": {}, "ipv6": None},
    "images": [{**dict.fromkeys("arch digest location".split()), "initrd": {}, "kernel": {}}],
    "mountTypesUnsupported": [None],
    "mounts": [
        {**dict.fromkeys("location mountPoint writable".split()), "9p": {}, "sshfs": {}, "virtiofs": {}}
    ],
    "networks": [dict.fromkeys("interface lima macAddress socket vzNAT".split())],
    "param": {},
    "portForwards": [
        dict.fromkeys(
            "guestIP guestIPMustBeZero guestPort guestPortRange guestSocket hostIP hostPort hostPortRange "
            "hostSocket ignore proto reverse".split()
        )
    ],
    "probes": [dict.fromkeys("description hint mode script".split())],
    "provision": [dict.fromkeys("mode playbook script skipDefaultDependencyResolution".split())],
    "rosetta": dict.fromkeys("binfmt enabled".split()),
    "ssh": dict.fromkeys("forwardAgent forwardX11 forwardX11Trusted loadDotSSHPubKeys localPort".split()),
    "video": {"display": None, "vnc": {"display": None}},
    "vmOpts": {"qemu": {"minimumVersion": None}},
}
LIMA_VALUES = {
    "vmType": {"default", "qemu", "vz"},
    "mountType": {"default", "reverse-sshfs", "9p", "virtiofs"},
}
LIMA_PROVISION_MODES = {"system", "user", "boot", "dependency"}
# The networks of Lima's own networks.yaml, pkg/networks/networks.TEMPLATE.yaml.
LIMA_NETWORKS = {"bridged", "host", "shared", "user-v2"}
