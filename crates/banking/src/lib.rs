//! Banking: customers, their savings accounts, who may act on which, and money
//! moving between them on somebody's order.
//!
//! It refuses to know how entries are written (the ledger's), who may do what in
//! general (policy's: commands here name a permission and bring the facts), and
//! HTTP. Personal data is opened only inside commands, so that every look at it
//! leaves a record.

pub mod accounts;
pub mod approvals;
mod cells;
pub mod customers;
pub mod facts;
pub mod holds;
pub mod import;
pub mod movements;
pub mod overview;
mod paging;
pub mod payee;
pub mod proof;
mod text;

pub use accounts::{
    Account, AccountChange, AccountFilter, AccountList, AccountParties, AccountSeries, AccountType,
    AccountView, CloseAccount, EntryFilter, EntrySearch, NewAccount, OpenAccount, Party,
    PartyAccounts, PartyRole, Series, UpdateAccount,
};
pub use approvals::{
    Agreement, Approval, ApprovalFilter, ApprovalKind, ApprovalList, ApprovalStatus, ApprovalView,
    ApproveRequest, RejectRequest,
};
pub use cells::SEALED;
pub use customers::{
    CreateCustomer, Customer, CustomerChange, CustomerFilter, CustomerPage, CustomerRecord,
    CustomerStatus, CustomerType, ListCustomers, NameCustomers, NewCustomer, PersonalData,
    ReadCustomer, UpdateCustomer,
};
pub use holds::{
    AuthoriseHold, CaptureHold, CapturedHold, HoldFilter, HoldGroups, HoldList, HoldView,
    ReleaseHold,
};
pub use ledger::{AccountStatus, Hold, HoldStatus, InternalAccount, TransactionType, TransferKind};
pub use movements::{
    Balance, BalanceAsOf, ChargeFee, CreateTransfer, Deposit, JournalAccount, JournalEntry,
    Movement, MovementView, PostJournal, ReverseTransaction, Transaction, TransactionFilter,
    TransactionList, Transfer, TransferView, Withdraw,
};
