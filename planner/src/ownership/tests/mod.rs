mod choice;
mod moves;
mod simulation;
mod world;
