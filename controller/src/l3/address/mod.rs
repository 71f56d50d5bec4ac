//! Addresses in use: one row each, whose uniqueness within the network is what keeps two from having the
//! same. An allocation is a conditional insert; who loses a race tries the next.

mod allocator;
mod ask;
mod statistic;
mod store;

use std::net::Ipv4Addr;

use engine::db::Tx;
use engine::inventory::find;
use engine::module::Module;
use engine::query::Relation;
use engine::setting::{AnySetting, Setting};
use engine::{Any, ErrorCode, Id, Result, Stamp, codes, inventory};

use super::range::{self, IpRange, IpRangeInventory, Span};
use super::{L3Network, L3NetworkInventory, service};

use allocator::LastAvailable;
use store::Ground;

pub use allocator::{IP_ALLOCATORS, IpAllocator};

/// Marks ids of used addresses.
#[derive(Debug)]
pub enum UsedIp {}

inventory! {
    /// An address in use as the API shows it.
    UsedIpInventory in "used_ip" seen Owned("vm_nic_uuid") {
        uuid: Id<UsedIp>,
        ip_range_uuid: Id<IpRange>,
        l3_network_uuid: Id<L3Network>,
        ip_version: i64,
        ip: String,
        netmask: String,
        gateway: String,
        used_for: Option<String>,
        ip_in_long: i64,
        vm_nic_uuid: Option<Id<Any>>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<IpRangeInventory>("ipRange", "ip_range_uuid").back("usedIp"),
        Relation::one::<L3NetworkInventory>("l3Network", "l3_network_uuid").back("usedIp"),
    ]
}

/// An address that was given out.
#[derive(Clone, Debug, PartialEq, Eq, engine::db::Row)]
pub struct Address {
    pub ip: String,
    pub netmask: String,
    pub gateway: String,
}

pub(crate) const STRATEGY: Setting<&'static dyn IpAllocator> = Setting {
    category: "l3Network",
    name: "ipAllocatorStrategy",
    default: "RandomIpAllocatorStrategy",
    help: "how addresses are chosen: RandomIpAllocatorStrategy or FirstAvailableIpAllocatorStrategy",
    read: |text| IP_ALLOCATORS.get(text),
};

const SETTINGS: &[AnySetting] = &[STRATEGY
    .entry(|text| STRATEGY.accepts(text))
    .one_of(&["RandomIpAllocatorStrategy", "FirstAvailableIpAllocatorStrategy"])];

/// Whom an address is for.
#[derive(Clone, Copy)]
enum User {
    Nic(Id<Any>),
    /// The DHCP servers of the network, the same on every host.
    Dhcp,
}

/// So many lost races in a row are no accident.
const TRIES: usize = 100;

/// Gives the NIC, whose row exists, an address of the network: `wanted`, or one that the allocator
/// chooses. A NIC that has one keeps it.
///
/// # Errors
/// When the network is disabled or being deleted, `wanted` is not free, or no address is left.
pub async fn allocate(
    tx: &mut Tx,
    l3: Id<L3Network>,
    nic: Id<Any>,
    wanted: Option<Ipv4Addr>,
) -> Result<Address> {
    let Some(ground) = store::ground(tx, l3, nic).await? else { return Err(gone(l3)) };
    if let Some(address) = ground.had() {
        let other = wanted.filter(|ip| ip.to_string() != address.ip);
        return match other {
            None => Ok(address),
            Some(ip) => {
                Err(refused(&ground.name, ip, &format!("cannot be given to a nic that has {}", address.ip)))
            }
        };
    }
    ground.refuse_closed()?;
    // The servers choose before guests take all, and after who wants a certain address, lest they choose that.
    let taken = match wanted {
        Some(ip) => Some(take_wanted(tx, (l3, &ground.name), User::Nic(nic), ip).await?),
        None => None,
    };
    if known_dhcp_server(tx, l3).await?.is_none() && service::need_address(tx, l3).await? {
        dhcp_server(tx, l3).await?;
    }
    match taken {
        Some(address) => Ok(address),
        None => match take_any(tx, l3, User::Nic(nic)).await? {
            Some(address) => Ok(address),
            None => Err(exhausted(tx, l3, &ground.name).await?),
        },
    }
}

impl Ground {
    fn refuse_closed(&self) -> Result<()> {
        let name = &self.name;
        match self.state.as_str() {
            _ if self.deleting => {
                Err(codes::STATE.because(format!("l3 network \"{name}\" is being deleted")))
            }
            "Enabled" => Ok(()),
            state => Err(codes::STATE.because(format!("l3 network \"{name}\" is {state}: enable it first"))),
        }
    }
}

fn gone(l3: Id<L3Network>) -> ErrorCode {
    codes::NOT_FOUND.because(format!("there is no l3 network of uuid {l3}; it may have been deleted"))
}

/// Takes the NIC's addresses back.
pub async fn release(tx: &mut Tx, nic: Id<Any>) -> Result<()> {
    store::release(tx, nic).await
}

/// Takes the NIC's address from it without giving it to anybody: it may be put back. None when it has none.
pub async fn set_aside(tx: &mut Tx, nic: Id<Any>) -> Result<Option<Id<UsedIp>>> {
    store::set_aside(tx, nic).await
}

/// The NIC has what was set aside again, and nothing else.
pub async fn put_back(tx: &mut Tx, nic: Id<Any>, aside: Id<UsedIp>) -> Result<()> {
    store::release(tx, nic).await?;
    store::put_back(tx, nic, aside).await
}

/// What was set aside may be given to others.
pub async fn drop_aside(tx: &mut Tx, aside: Id<UsedIp>) -> Result<()> {
    store::drop_aside(tx, aside).await
}

/// `l3` by its name.
type Named<'a> = (Id<L3Network>, &'a str);

async fn take_wanted(tx: &mut Tx, (l3, name): Named<'_>, user: User, ip: Ipv4Addr) -> Result<Address> {
    let spans = range::open_spans(tx, l3).await?;
    let Some(span) = spans.iter().find(|span| span.contains(ip)) else {
        return Err(refused(name, ip, "lies in none of its ranges, or is reserved"));
    };
    match store::take(tx, l3, span, u32::from(ip).into(), user).await? {
        Some(address) => Ok(address),
        None if of_servers(tx, l3, ip).await? => {
            Err(refused(name, ip, "is that of its DHCP servers: choose another"))
        }
        None => Err(refused(name, ip, "is in use")),
    }
}

/// Gives the network's DHCP servers this address. The one that they had is returned and given to nobody, until it
/// is dropped or they have it again.
pub(super) async fn move_dhcp_server(
    tx: &mut Tx,
    l3: &L3NetworkInventory,
    ip: Ipv4Addr,
) -> Result<Option<Id<UsedIp>>> {
    if !service::need_address(tx, l3.uuid).await? {
        let details = format!("l3 network \"{}\" has no DHCP servers: attach the service first", l3.name);
        return Err(codes::STATE.because(details));
    }
    if of_servers(tx, l3.uuid, ip).await? {
        return Ok(None);
    }
    let aside = store::stand_aside(tx, l3.uuid).await?;
    take_wanted(tx, (l3.uuid, &l3.name), User::Dhcp, ip).await?;
    Ok(aside)
}

/// The servers have what was set aside again, and nothing else.
pub(super) async fn put_dhcp_server_back(
    tx: &mut Tx,
    l3: Id<L3Network>,
    aside: Option<Id<UsedIp>>,
) -> Result<()> {
    let Some(aside) = aside else { return Ok(()) };
    store::free_dhcp_server(tx, l3).await?;
    store::stand_again(tx, aside).await
}

async fn of_servers(tx: &mut Tx, l3: Id<L3Network>, ip: Ipv4Addr) -> Result<bool> {
    let servers = store::dhcp_server(tx, l3).await?;
    Ok(servers.is_some_and(|(address, _)| address.ip == ip.to_string()))
}

fn refused(network: &str, ip: Ipv4Addr, why: &str) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(format!("address {ip} of l3 network \"{network}\" {why}"))
}

/// None when all are in use.
async fn take_any(tx: &mut Tx, l3: Id<L3Network>, user: User) -> Result<Option<Address>> {
    let allocator = match user {
        User::Nic(_) => tx.engine().setting(&STRATEGY),
        User::Dhcp => &LastAvailable,
    };
    let spans = range::open_spans(tx, l3).await?;
    for span in allocator.order(spans) {
        for _ in 0..TRIES {
            let Some(ip) = allocator.pick(tx, &span).await? else { break };
            if let Some(address) = store::take(tx, l3, &span, ip, user).await? {
                return Ok(Some(address));
            }
        }
    }
    Ok(None)
}

async fn exhausted(tx: &mut Tx, l3: Id<L3Network>, name: &str) -> Result<ErrorCode> {
    let spans = range::open_spans(tx, l3).await?;
    let total: i64 = spans.iter().map(Span::size).sum();
    let details = match total {
        0 => format!("l3 network \"{name}\" has no ip range: add one"),
        _ => {
            let used = store::used_in(tx, &spans).await?;
            format!(
                "l3 network \"{name}\" has no free address left: {used} of {total} are in use; add an ip range \
                 or delete VMs"
            )
        }
    };
    Ok(codes::OPERATION.because(details))
}

/// The address of the network's DHCP servers, unless it is to be chosen yet, or again.
pub(super) async fn known_dhcp_server(tx: &mut Tx, l3: Id<L3Network>) -> Result<Option<Address>> {
    let known = store::dhcp_server(tx, l3).await?;
    Ok(known.filter(|(_, deleting)| !deleting).map(|(address, _)| address))
}

/// The address of the network's DHCP servers; chosen at first, and again when its range is being deleted.
/// None when the network has no range to take it from.
pub(super) async fn dhcp_server(tx: &mut Tx, l3: Id<L3Network>) -> Result<Option<Address>> {
    if let Some((address, deleting)) = store::dhcp_server(tx, l3).await? {
        if !deleting {
            return Ok(Some(address));
        }
        store::free_dhcp_server(tx, l3).await?;
    }
    if range::open_spans(tx, l3).await?.is_empty() {
        return Ok(None);
    }
    if let Some(address) = take_any(tx, l3, User::Dhcp).await? {
        return Ok(Some(address));
    }
    let network: L3NetworkInventory = find(tx, l3).await?;
    Err(exhausted(tx, l3, &network.name).await?)
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .family(&IP_ALLOCATORS)
        .query::<UsedIpInventory>("QueryIpAddress", "/l3-networks/ip-address")
        .ask::<ask::GetFreeIp>()
        .ask::<ask::CheckIpAvailability>()
        .ask::<statistic::GetL3NetworkDhcpIpAddress>()
        .ask::<statistic::GetL3NetworkIpStatistic>()
        .ask::<ask::GetIpAddressCapacity>()
        .settings(SETTINGS)
}
