//! Banking: customers, their savings accounts, who may act on which, and money
//! moving between them on somebody's order.
//!
//! It refuses to know how entries are written (the ledger's), who may do what in
//! general (policy's: commands here name a permission and bring the facts), and
//! HTTP. Personal data is opened only inside commands, so that every look at it
//! leaves a record.

pub mod accounts;
pub mod customers;
pub mod import;
pub mod movements;
mod paging;
mod text;

pub use accounts::{
    Account, AccountChange, AccountFilter, AccountList, AccountType, AccountView, CloseAccount,
    NewAccount, OpenAccount, Party, PartyRole, UpdateAccount,
};
pub use customers::{
    CreateCustomer, Customer, CustomerChange, CustomerFilter, CustomerPage, CustomerRecord,
    CustomerStatus, CustomerType, ListCustomers, NewCustomer, PersonalData, ReadCustomer,
    UpdateCustomer,
};
pub use ledger::{AccountStatus, TransactionType, TransferKind};
pub use movements::{
    Balance, BalanceAsOf, CreateTransfer, Deposit, Transaction, TransactionFilter, TransactionList,
    Transfer, TransferView, Withdraw,
};
